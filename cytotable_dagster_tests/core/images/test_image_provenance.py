"""Where the images of a plate are: every way to find them, and never another plate's."""

import gzip
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster.core.errors import DestinationExistsError, OptionError, SourceFormatError
from cytotable_dagster.core.images import find_provenance
from cytotable_dagster.core.images.check import STEP
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.images.painted import image_tables, phenix, sqlite, write_files
from cytotable_dagster_tests.core.plates import JUMP, write_sqlite
from cytotable_dagster_tests.core.plates import plate as tables_of

RECORDED = "/mnt/local_input/projects/batch1/images/{plate}/Images"


def rows_of(source: Any, folder: Path, **options: Any) -> list[dict[str, Any]]:
    options.setdefault("verify", "md5")
    facts = find_provenance(source, folder / "out", overwrite=True, **options)
    return pq.read_table(facts.path).to_pylist()


def statuses(rows: list[dict[str, Any]], kind: str = "image") -> set[tuple[str, str]]:
    return {(row["status"], row["found_by"]) for row in rows if row["kind"] == kind}


def test_recorded_paths_are_used_where_they_exist(tmp_path):
    write_files(tmp_path / "P1" / "Images")
    source = sqlite(tmp_path, recorded=f"{tmp_path}/{{plate}}/Images")
    assert statuses(rows_of(source, tmp_path)) == {("verified", "recorded path")}


def test_a_url_of_a_file_is_used_where_it_exists(tmp_path):
    write_files(tmp_path / "a folder")
    more = {f"URL_{c}": f"file://{tmp_path}/a%20folder/{phenix(1, n)}" for n, c in ((1, "OrigDNA"), (2, "OrigER"))}
    source = sqlite(tmp_path, images=1, more=more)
    assert statuses(rows_of(source, tmp_path)) == {("verified", "url")}


@pytest.mark.parametrize(
    ("recorded", "rule"),
    [
        ("/mnt/local_input/projects/batch1/images/{plate}/Images", "/mnt/local_input/projects/<batch>/images/"),
        ("D:\\data\\batch1\\images\\{plate}\\Images\\", "d:\\data\\<batch>\\images"),
        ("\\\\server\\share/batch1\\images/{plate}//Images", "//server/share/<batch>/images"),
    ],
)
def test_path_rules_carry_named_parts_over_and_read_windows_paths(tmp_path, recorded, rule):
    write_files(tmp_path / "here" / "batch1" / "P1" / "Images")
    source = sqlite(tmp_path, recorded=recorded)
    rules = tmp_path / "rules.toml"
    rules.write_text(
        f"[[rules]]\nfrom = '/elsewhere/'\nto = '/x'\n[[rules]]\nfrom = '{rule}'\nto = '{tmp_path}/here/<batch>'\n"
    )
    assert statuses(rows_of(source, tmp_path, path_rules=rules)) == {("verified", "path rule")}


def test_a_path_rule_ends_at_a_folder_and_does_not_lead_out_of_its_target(tmp_path):
    source = sqlite(tmp_path, recorded="/mnt/images2/{plate}")
    assert statuses(rows_of(source, tmp_path, path_rules=[{"from": "/mnt/images", "to": "/x"}])) == {("unmapped", None)}
    source = sqlite(tmp_path, recorded="/mnt/images/../../secret")
    rows = rows_of(source, tmp_path, path_rules=[{"from": "/mnt/images", "to": str(tmp_path)}])
    assert statuses(rows) == {("unmapped", None)} and "leads out" in rows[0]["detail"]


@pytest.mark.parametrize(("recorded", "file"), [("../secret", None), (".", "../secret"), ("a/../../secret", None)])
def test_a_relative_path_does_not_lead_out_of_the_plates_folder(tmp_path, recorded, file):
    write_files(tmp_path / "secret")
    (tmp_path / "here").mkdir()
    name = (lambda image, channel: f"{file}/{phenix(image, channel)}") if file else phenix
    source = sqlite(tmp_path / "here", recorded=recorded, file=name)
    assert statuses(rows_of(source, tmp_path)) == {("unmapped", None)}
    # Nor does a folder that was named instead, of which only the files' names count.
    rows = rows_of(source, tmp_path, image_dir=tmp_path / "here")
    assert {row["status"] for row in rows} == {"unmapped"}


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([{"from": "/a"}], "rule 1"),
        ([{"from": "/a/<x>", "to": "/b/<y>"}], "<y>"),
        ([{"from": "/a", "to": "/b/../c"}], "leads out"),
        ("no.toml", "cannot be read"),
    ],
)
def test_rules_that_mean_nothing_are_errors_that_say_which(tmp_path, rules, said):
    with pytest.raises(OptionError, match=said):
        find_provenance(sqlite(tmp_path), tmp_path / "out", path_rules=rules)
    assert not (tmp_path / "out").exists()


def test_a_folder_is_matched_by_the_longest_common_path(tmp_path):
    for name in ("P1", "P2", "P10"):
        write_files(tmp_path / "all" / name / "Images", name)
    for name in ("P1", "P2"):
        rows = rows_of(sqlite(tmp_path, name), tmp_path, image_dir=tmp_path / "all")
        assert statuses(rows) == {("verified", "folder by path")}
        assert {f"/{name}/Images/" in row["uri"] for row in rows} == {True}


def test_an_image_that_is_missing_is_not_taken_from_another_plate(tmp_path):
    for name in ("first", "second"):
        write_files(tmp_path / "all" / name / "Images", name)
    (tmp_path / "all" / "first" / "Images" / phenix(2, 1)).unlink()
    # The folders do not say the plates' names: the recorded folder is matched as a whole.
    source = sqlite(tmp_path, "P1", recorded="/mnt/first/Images", digests=False)
    rows = rows_of(source, tmp_path, image_dir=tmp_path / "all", verify="exists")
    assert sorted(row["status"] for row in rows) == ["present", "present", "present", "unmapped"]
    assert {"/first/" in row["uri"] for row in rows if row["uri"]} == {True}


@pytest.mark.parametrize("recorded", [RECORDED, "/mnt/{plate}__2021-09-01-Measurement1/Images", "/mnt/{plate}"])
def test_another_plates_folder_is_never_this_plates(tmp_path, recorded):
    write_files(tmp_path / "all" / "P2" / "Images", "P2")
    rows = rows_of(sqlite(tmp_path, "P1", recorded=recorded), tmp_path, image_dir=tmp_path / "all", verify="exists")
    assert statuses(rows) == {("unmapped", None)}
    assert "do not name the plate" in rows[0]["detail"]


def test_folders_that_fit_alike_are_ambiguous_unless_one_names_the_plate(tmp_path):
    for name in ("one", "two"):
        write_files(tmp_path / "all" / name / "Images", name)
    source = sqlite(tmp_path, "P1", recorded="/mnt/Images")
    rows = rows_of(source, tmp_path, image_dir=tmp_path / "all")
    assert statuses(rows) == {("ambiguous", None)} and "fit" in rows[0]["detail"]
    write_files(tmp_path / "all" / "P1" / "Images")
    assert statuses(rows_of(source, tmp_path, image_dir=tmp_path / "all")) == {("verified", "folder by path")}


def test_a_bare_name_counts_where_it_is_of_one_file(tmp_path):
    write_files(tmp_path / "images" / "deep" / "down")
    source = sqlite(tmp_path, "P1", recorded="E:\\run7\\TIFs")
    assert statuses(rows_of(source, tmp_path, image_dir=tmp_path / "images")) == {("verified", "folder by name")}
    write_files(tmp_path / "images" / "other", "P2")
    assert statuses(rows_of(source, tmp_path, image_dir=tmp_path / "images")) == {("ambiguous", None)}


def test_a_bare_name_that_the_plate_has_twice_is_no_ones(tmp_path):
    tables = image_tables("P1", recorded="/a/cycle1", file=lambda image, channel: f"ch{channel}.tif", digests=False)
    for row, cycle in zip(tables["Image"].rows, (1, 2), strict=True):
        row["PathName_OrigDNA"] = row["PathName_OrigER"] = f"/a/cycle{cycle}"
    source = write_sqlite(tmp_path / "P1.sqlite", tables)
    write_files(tmp_path / "flat", file=lambda image, channel: f"ch{channel}.tif")
    assert statuses(rows_of(source, tmp_path, image_dir=tmp_path / "flat")) == {("ambiguous", "folder by name")}


def test_one_file_is_not_that_of_two_plates(tmp_path):
    write_files(tmp_path / "flat")
    plates = [sqlite(tmp_path, name, recorded="D:\\Images") for name in ("P1", "P2")]
    rows = rows_of(plates, tmp_path, image_dir=tmp_path / "flat", verify="exists")
    assert {(row["Metadata_Plate"], row["status"]) for row in rows} == {("P1", "ambiguous"), ("P2", "ambiguous")}
    for name in ("P1", "P2"):
        write_files(tmp_path / "by plate" / name, name)
    rows = rows_of(plates, tmp_path, image_dir=tmp_path / "by plate" / "{plate}")
    assert {(row["Metadata_Plate"], row["status"]) for row in rows} == {("P1", "verified"), ("P2", "verified")}


def test_neither_a_rule_nor_load_data_gives_one_file_to_two_plates(tmp_path):
    for plate in ("P1", "P2"):
        write_files(tmp_path / "images" / plate, plate)
        sqlite(tmp_path, plate)
    sources = [tmp_path / "P1.sqlite", tmp_path / "P2.sqlite"]
    images, start = tmp_path / "images", "/mnt/local_input/projects/<batch>/images/<name>/Images"
    rows = rows_of(sources, tmp_path, path_rules=[{"from": start, "to": f"{images}/P2"}])
    assert {row["status"] for row in rows} == {"ambiguous"} and "<plate>" in rows[0]["detail"]
    rows = rows_of(sources, tmp_path, path_rules=[{"from": start, "to": f"{images}/<name>"}])
    assert statuses(rows) == {("verified", "path rule")}
    load_data = tmp_path / "load_data.csv"
    columns = "FileName_OrigDNA,PathName_OrigDNA,Metadata_Well,Metadata_Site"
    load_data.write_text(f"{columns}\n{phenix(1, 1)},{images}/P2,A01,1\n")
    rows = [row for row in rows_of(sources, tmp_path, load_data=load_data) if row["status"] != "unmapped"]
    assert [row["status"] for row in rows] == ["ambiguous"] * 2 and "Metadata_Plate" in rows[0]["detail"]
    load_data.write_text(f"{columns},Metadata_Plate\n{phenix(1, 1)},{images}/P2,A01,1,P2\n")
    assert {row["status"] for row in rows_of(sources, tmp_path, load_data=load_data)} == {"verified", "unmapped"}


def test_images_of_one_plate_that_was_measured_twice_are_both_ones(tmp_path):
    write_files(tmp_path / "images" / "P1" / "Images")
    source = sqlite(tmp_path)
    again = Path(shutil.copy(source, tmp_path / "P1_again.sqlite"))
    rows = rows_of([source, again], tmp_path, image_dir=tmp_path / "images")
    assert statuses(rows) == {("verified", "folder by path")} and len(rows) == 8


def test_links_to_folders_are_followed_and_lead_nowhere_twice(tmp_path):
    write_files(tmp_path / "elsewhere")
    images = tmp_path / "images"
    images.mkdir()
    for name, target in (("P1", tmp_path / "elsewhere"), ("loop", images), ("all", "/"), ("gone", tmp_path / "none")):
        (images / name).symlink_to(target)
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path)
    rows = rows_of(sqlite(tmp_path), tmp_path, image_dir=images)
    assert {row["status"] for row in rows} == {"verified"} and all(f"{images}/P1/" in row["uri"] for row in rows)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
@pytest.mark.parametrize("illumination", [False, True])
def test_load_data_is_joined_on_plate_well_and_site(tmp_path, ending, illumination):
    write_files(tmp_path / "there")
    columns = {
        "Metadata_Plate": ["P2", "P1", "P1"],
        "Metadata_Well": ["A01", "a1", "A1"],
        "Metadata_Site": ["1", "1", "02"],
        "FileName_OrigDNA": ["wrong.tiff", phenix(1, 1), phenix(2, 1)],
        "PathName_OrigDNA": [f"{tmp_path}/there/"] * 3,
        **(
            {"FileName_IllumDNA": ["I.npy"] * 3, "PathName_IllumDNA": ["s3://nowhere/illum"] * 3}
            if illumination
            else {}
        ),
    }
    path = tmp_path / f"load_data.{ending}"
    frame = pl.DataFrame(columns)
    if ending == "parquet":
        frame.write_parquet(path)
    elif ending == "csv":
        frame.write_csv(path)
    else:
        path.write_bytes(gzip.compress(frame.write_csv().encode()))
    rows = rows_of(sqlite(tmp_path), tmp_path, load_data=path, verify="none")
    found = {(row["channel"], row["kind"], row["found_by"]) for row in rows}
    assert ("OrigDNA", "image", "load_data") in found and ("OrigER", "image", None) in found
    assert ("IllumDNA", "illumination", "load_data") in found or not illumination
    assert {row["uri"] for row in rows if row["channel"] == "OrigDNA"} == {
        f"{tmp_path}/there/{phenix(image, 1)}" for image in (1, 2)
    }


def test_load_data_that_contradicts_itself_or_is_none_says_so(tmp_path):
    path = tmp_path / "load_data.csv"
    head = "Metadata_Plate,Metadata_Well,Metadata_Site,FileName_OrigDNA,PathName_OrigDNA\n"
    path.write_text(f"{head}P1,A01,1,a.tif,s3://b/x\nP1,A01,1,b.tif,s3://b/x\n")
    rows = rows_of(sqlite(tmp_path), tmp_path, load_data=path, verify="none")
    assert [row["status"] for row in rows if row["channel"] == "OrigDNA"] == ["ambiguous", "unmapped"]
    for text, told in (
        ("a,b\n1,2\n", "Metadata_Well"),
        (f"{head}1,2,3,4,5,6\n", "line 2 has 6 fields"),
        ("", "it has none"),
    ):
        path.write_text(text)
        with pytest.raises(OptionError, match=told):
            rows_of(sqlite(tmp_path), tmp_path, load_data=path)
    damaged = {
        "not UTF-8.csv": head.encode() + b"P1,A01,1,\xb5.tif,x\n",
        "cut.csv.gz": gzip.compress(head.encode())[:-9],
        "none.parquet": b"PAR1PAR1",
    }
    for name, data in damaged.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(OptionError, match=rf"{name}: cannot be read \(\S"):
            rows_of(sqlite(tmp_path), tmp_path, load_data=path)


def test_outlines_and_masks_by_their_columns_and_by_their_folders(tmp_path):
    write_files(tmp_path / "P1" / "Images")
    for image in (1, 2):
        (tmp_path / "outlines").mkdir(exist_ok=True)
        (tmp_path / "outlines" / f"r01c01f0{image}p01-ch1_cell_outlines.png").write_bytes(b"o")
        (tmp_path / "masks").mkdir(exist_ok=True)
        (tmp_path / "masks" / phenix(image, 2)).write_bytes(b"m")
    more = {
        "ObjectsFileName_Cells": "cells.tiff",
        "ObjectsPathName_Cells": str(tmp_path),
        "FileName_CellOutlines": "o.png",
    }
    (tmp_path / "cells.tiff").write_bytes(b"labels")
    rows = rows_of(
        sqlite(tmp_path, recorded=f"{tmp_path}/{{plate}}/Images", more=more),
        tmp_path,
        outline_dir=tmp_path / "outlines",
        mask_dir=tmp_path / "masks",
        segmentation_file_regex={r"_cell_outlines\.png$": r"(r\d+c\d+f\d+p\d+-ch1)sk", r"\.tiff$": "ch2sk"},
    )
    found = [(row["kind"], row["channel"], row["status"], Path(row["uri"] or "-").name) for row in rows]
    assert ("mask", "Cells", "present", "cells.tiff") in found
    assert ("outline", "CellOutlines", "unmapped", "-") in found
    assert [item for item in found if item[:2] == ("outline", "OrigDNA")] == [
        ("outline", "OrigDNA", "present", f"r01c01f0{image}p01-ch1_cell_outlines.png") for image in (1, 2)
    ]
    assert [item[3] for item in found if item[:2] == ("mask", "OrigER")] == [phenix(image, 2) for image in (1, 2)]


def test_plates_that_name_no_image_are_an_error_and_nothing_is_written(tmp_path):
    source = write_sqlite(tmp_path / "P1.sqlite", tables_of(JUMP))
    convert(source, tmp_path / "cells.parquet")
    with pytest.raises(SourceFormatError, match=r"no image table.*; nothing was written"):
        find_provenance(tmp_path / "cells.parquet", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_replaced_image_is_a_mismatch_and_one_that_is_gone_is_missing(tmp_path):
    folder = write_files(tmp_path / "P1" / "Images")
    source = sqlite(tmp_path, recorded="/old/{plate}/Images")
    rules = [{"from": "/old", "to": str(tmp_path)}]
    (folder / phenix(1, 1)).write_bytes(b"another one")
    (folder / phenix(2, 1)).unlink()
    facts = find_provenance(source, tmp_path / "out", path_rules=rules, verify="md5")
    assert facts.counts == {"verified": 2, "missing": 1, "mismatch": 1}
    assert "MD5" in facts.text and "No such file" in facts.text
    (folder / phenix(1, 2)).write_bytes(b"")
    assert find_provenance(source, tmp_path / "o2", path_rules=rules, verify="none").counts == {"not looked at": 4}


def test_a_check_that_was_killed_goes_on_with_what_is_left(tmp_path):
    write_files(tmp_path / "P1" / "Images")
    source = sqlite(tmp_path, recorded=f"{tmp_path}/{{plate}}/Images")

    class Killed(BaseException):
        pass

    def killing(step: str, done: int, total: int) -> None:
        if (step, done) == (STEP, 3):
            raise Killed

    options = {"verify": "md5", "local_cache_dir": tmp_path / "cache" / "plates"}
    with pytest.raises(Killed):
        find_provenance(source, tmp_path / "out", progress=killing, **options)
    assert not (tmp_path / "out" / "_about").exists()
    told: list[tuple[str, int, int]] = []
    facts = find_provenance(source, tmp_path / "out", progress=lambda *step: told.append(step), **options)
    begun = [(done, total) for step, done, total in told if step == STEP]
    assert begun[0][0] >= 2 and begun[-1] == (4, 4) and facts.counts == {"verified": 4}
    assert names_in(tmp_path / "cache") == ["provenance"]


def test_convert_puts_it_beside_the_tables_and_never_among_them(tmp_path):
    write_files(tmp_path / "images" / "P1" / "Images")
    source = sqlite(tmp_path)
    options = {"provenance": True, "image_dir": tmp_path / "images", "verify": "md5"}
    plain = convert(source, tmp_path / "plain")
    result = convert(source, tmp_path / "out", **options)
    assert names_in(tmp_path / "out") == sorted([*names_in(tmp_path / "plain"), "_about", "_about/provenance.parquet"])
    assert plain.provenance is None and result.provenance.counts == {"verified": 4} and "4 verified" in str(result)
    joined = convert(source, tmp_path / "joined" / "cells.parquet", **options)
    assert joined.provenance.path == tmp_path / "joined" / "_about" / "provenance.parquet"
    with pytest.raises(DestinationExistsError, match=r"_about/provenance\.parquet"):
        convert(source, tmp_path / "joined" / "more.parquet", **options)
    assert not (tmp_path / "joined" / "more.parquet").exists()
    with pytest.raises(OptionError, match="image_dir"):
        convert(source, tmp_path / "other", image_dir=tmp_path)
    with pytest.raises(OptionError, match="no folder"):
        convert(source, tmp_path / "other", provenance=True, image_dir=tmp_path / "nowhere")


@pytest.mark.parametrize("several", [False, True])
def test_its_keys_are_those_of_single_cells(tmp_path, several):
    names = ("P1", "P2") if several else ("P1",)
    for name in names:
        write_files(tmp_path / "images" / name / "Images", name)
    plates = [sqlite(tmp_path, name) for name in names]
    result = convert(plates, tmp_path / "out" / "cells.parquet", provenance=True, image_dir=tmp_path / "images")
    cells, images = pl.read_parquet(result.path), pl.read_parquet(result.provenance.path)
    keys = [name for name in images.columns if name.endswith(("TableNumber", "ImageNumber", "Metadata_Plate"))]
    assert "Metadata_ImageNumber" in keys and {*keys} <= {*cells.columns}
    assert len(cells.join(images, on=keys)) == 2 * len(cells) and len(cells) == 4 * len(names)


def test_a_plate_without_image_columns_says_so_and_is_converted(tmp_path):
    tables = image_tables()
    for name in [name for name in tables["Image"].columns if "Name_" in name or "MD5" in name or "URL" in name]:
        del tables["Image"].columns[name]
    source = write_sqlite(tmp_path / "P1.sqlite", tables)
    result = convert(source, tmp_path / "out", provenance=True)
    assert result.provenance.rows == 0 and "no FileName_" in result.provenance.text
    assert pq.read_table(result.provenance.path).num_rows == 0


def test_examplehuman(tmp_path, real_data):
    rows = rows_of(real_data / "examplehuman", tmp_path, image_dir=real_data / "examplehuman")
    assert {row["channel"]: row["status"] for row in rows} == {
        "DNA": "verified",
        "PH3": "verified",
        "cellbody": "verified",
        "OrigOverlay": "present",
    }


def test_jump_br00126114_by_its_load_data(tmp_path, real_data):
    folder = real_data / "jump_br00126114"
    load_data = folder / "test_BR00126114_load_data_with_illum.parquet"
    rows = rows_of(folder / "test_BR00126114.sqlite", tmp_path, load_data=load_data, verify="none")
    assert len(rows) == 20 and {row["found_by"] for row in rows} == {"load_data"}
    place = "s3://cellpainting-gallery/cpg0016-jump/source_4/images/2021_08_23_Batch12/images/BR00126114__2021-09-01T15_39_48-Measurement1/Images/"
    assert {row["uri"] for row in rows if row["channel"] == "OrigDNA"} == {
        f"{place}r01c01f0{site}p01-ch5sk1fk1fl1.tiff" for site in (1, 2)
    }


def test_jump_br00117006_by_its_urls_and_a_rule(tmp_path, real_data):
    folder = real_data / "jump_br00117006"
    cells = pq.read_table(folder / "BR00117006_shrunken.parquet").slice(0, 1).to_pylist()[0]
    tables = image_tables("BR00117006", images=1, digests=False)
    for name, value in cells.items():
        if name.startswith(("Image_URL_", "Image_MD5Digest_", "Image_FileName_", "Image_PathName_")):
            tables["Image"].add_column(name.removeprefix("Image_"), "TEXT", [value])
    source = write_sqlite(tmp_path / "BR00117006.sqlite", tables)
    mount = "/home/ubuntu/local_input/projects/2019_07_11_JUMP-CP/<batch>/images/<plate>/Images"
    rows = rows_of(source, tmp_path, path_rules=[{"from": mount, "to": str(folder / "images" / "orig")}])
    assert {row["channel"]: row["status"] for row in rows if row["status"] != "missing" and row["kind"] == "image"} == {
        "OrigDNA": "verified",
        "OrigRNA": "verified",
        "OrigAGP": "verified",
    }
    assert len([row for row in rows if row["kind"] == "illumination"]) == 8
    shutil.copytree(folder / "images" / "orig", tmp_path / "images")
    changed = tmp_path / "images" / "r01c01f01p01-ch5sk1fk1fl1.tiff"
    changed.write_bytes(changed.read_bytes()[:-1])
    rows = rows_of(source, tmp_path, image_dir=tmp_path / "images")
    assert {row["channel"]: row["status"] for row in rows}["OrigDNA"] == "mismatch"
