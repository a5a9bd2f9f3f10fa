"""Folders of several plates of CSV or NPZ files: told apart by a pattern, by image tables, or by their names."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets, errors
from cytotable_dagster.cli.main import main
from cytotable_dagster.core.inspection import inspect_plate
from cytotable_dagster.core.intake.discover import find_plates
from cytotable_dagster.core.sources.plate_folders import plates_among, plates_in_table
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster_tests.core import plates as made
from cytotable_dagster_tests.core.sources.csv.test_csv import site
from cytotable_dagster_tests.core.sources.npz import test_npz


def plates(folders: list[str], said: dict[str, str] | None = None, pattern: str | None = None) -> list[str]:
    """The plates' folders, of files in these; `said` are the plates of image tables."""
    asked = said or {}
    groups = plates_among(
        [f"{folder}/Cells.csv" for folder in folders],
        "/data/exports",
        pattern,
        lambda own: [frozenset(asked.get(folder, "").split()) for folder in own],
    )
    assert all(group.note.count("\n") == 0 and (group.note or len(groups) == 1) for group in groups)
    return [group.folder for group in groups]


@pytest.mark.parametrize(
    ("folders", "found"),
    [
        (["EC1", "EC2"], ["EC1", "EC2"]),
        (["BR00117006/a", "BR00117007/a"], ["BR00117006", "BR00117007"]),
        (["24277", "24278"], ["24277", "24278"]),
        (["0012345/1", "0012346/1"], ["0012345", "0012346"]),
        (["Plate 1", "plate_2"], ["Plate 1", "plate_2"]),
        (["x/analysis/s1", "x/analysis/s2", "y/analysis"], ["x/analysis", "y/analysis"]),
        (["b1/x/analysis/x-A01-1", "b2/y/analysis/y-A01-1"], ["b1/x/analysis", "b2/y/analysis"]),
        (["batch1/EC1", "batch2/EC3"], ["batch1/EC1", "batch2/EC3"]),
        (["2020_11_04_CPJUMP1/BR1/s", "2020_11_04_CPJUMP1/BR2/s"], ["2020_11_04_CPJUMP1/BR1", "2020_11_04_CPJUMP1/BR2"]),
        (["P1/A01-1", "P1/A02-1", "P2/A01-1"], ["P1", "P2"]),
        # Sites of one plate.
        (["a", "b"], [""]),
        (["A01", "A02"], [""]),
        (["A01/1", "A01/2", "A02/1"], [""]),
        (["site1", "site2"], [""]),
        (["00001", "00012"], [""]),
        (["20201104", "20201105"], [""]),
        (["Run1/A01-1", "Run1/A02-1"], [""]),
        (["EC1-A01-1", "EC1-A02-1"], [""]),
        (["EC1-A01-1", "EC2-A01-1"], [""]),
        (["analysis/EC1-A01-1", "analysis/EC1-A02-1"], [""]),
    ],
)  # fmt: skip
def test_folders_are_told_apart_by_their_names(folders, found):
    assert plates(folders) == found


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"P1": "p", "P2": "q"}, ["P1", "P2"]),
        ({"EC1": "p", "EC2": "p"}, [""]),
        ({"EC1": "p", "EC2": ""}, ["EC1", "EC2"]),
        ({"EC1": "p", "EC2": "q", "EC3/s1": "", "EC3/s2": ""}, ["EC1", "EC2", "EC3"]),
        ({"EC1": "p", "EC2": "p", "EC3": ""}, [""]),
        ({"x/s1": "p", "x/s2": "p", "y/s1": "q"}, ["x", "y"]),
        ({"x/s1": "p", "x/s2": "", "y/s1": "q"}, ["x", "y"]),
        ({"s1": "p", "s2": "p", "s3": "q"}, [""]),
        ({"s1": "p q", "s2": "r"}, [""]),
        ({"x": "p", "y": "q", "z": ""}, [""]),
    ],
)
def test_image_tables_tell_plates_apart_before_names_do(said, found):
    assert plates(list(said), said) == found


def test_a_pattern_decides_alone():
    folders = ["x/1", "x/2", "y/1"]
    assert plates(folders, pattern="{plate}/{site}/...") == plates(folders, pattern="{plate}/...") == ["x", "y"]
    assert plates(folders, pattern="{batch}/{plate}") == ["x/1", "x/2", "y/1"]
    assert plates(["b/x/analysis/s"], pattern="{batch}/{plate}/analysis/{site}") == ["b/x/analysis"]
    with pytest.raises(errors.OptionError, match="does not fit z in /data/exports"):
        plates([*folders, "z"], pattern="{plate}/{site}")
    with pytest.raises(errors.OptionError, match=r"no \{plate\} in it"):
        plates(folders, pattern="{site}")
    with pytest.raises(errors.SourceFormatError, match="a-1 and a-2 are both of plate a"):
        plates(["a-1", "a-2"], pattern="{plate}-{site}")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ImageNumber,Metadata_Plate\n1,EC1\n2,EC2\n3,\n", {"EC1", "EC2"}),
        ("\ufeffImage_Metadata_Barcode;X\r\n7;1,5\r\n", {"7"}),
        ("ImageNumber\n1\n", set()),
        ("", set()),
    ],
)
def test_what_an_image_table_says(text, found):
    assert plates_in_table(text.encode()) == found


def exports(root: Path, *, said: bool = True) -> Path:
    """Two plates of a few sites; of the second, one."""
    for folder, plate in (("EC1/s1", "EC1"), ("EC1/s2", "EC1"), ("EC2/s1", "EC2")):
        own = site(root / folder, well=f"A0{len(list(root.rglob('Image.csv'))) + 1}")
        if said:
            image = (own / "Image.csv").read_text()
            head, row = image.splitlines()
            (own / "Image.csv").write_text(f"{head},Metadata_Plate\n{row},{plate}\n")
    return root


@pytest.mark.parametrize("said", [True, False])
def test_a_folder_of_plates_is_converted_as_several(tmp_path, said, capsys):
    source = exports(tmp_path / "exports", said=said)
    result = convert(source, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert [report.plate for report in result.report.plates] == ["EC1", "EC2"]
    assert sorted(set(zip(table["Metadata_Plate"].to_pylist(), table["Metadata_Well"].to_pylist(), strict=True))) == [
        ("EC1", "A01"), ("EC1", "A02"), ("EC2", "A03"),
    ]  # fmt: skip
    how = "Metadata_Plate of their image tables" if said else "their folders' names"
    assert f"EC2: one of 2 plates in {source}, by {how}" in str(result.report)
    datasets.add(source, tmp_path / "set")
    assert set(datasets.tables(tmp_path / "set")["Cells"].members) == {"EC1", "EC2"}
    assert main(["inspect", str(source)]) == 0
    told = capsys.readouterr().out
    assert "plate    EC1" in told and "plate    EC2" in told and how in told
    with pytest.raises(errors.SourceFormatError, match="holds 2 plates"):
        inspect_plate(source)


def test_a_pattern_is_taken_by_every_way_in(tmp_path, capsys):
    for name in ("x/1", "x/2", "y/1"):
        site(tmp_path / "in" / name, well=f"A0{len(name)}" if name == "y/1" else f"B0{name[-1]}")
    one = convert(tmp_path / "in", tmp_path / "one")
    assert "plate_pattern='{plate}/...'" in str(one.report)
    two = convert(tmp_path / "in", tmp_path / "two", plate_pattern="{plate}/{site}/...")
    assert [report.plate for report in two.report.plates] == ["x", "y"]
    datasets.add(tmp_path / "in", tmp_path / "set", plate_pattern="{plate}/{site}")
    assert sorted(datasets.tables(tmp_path / "set")["Cells"].members) == ["x", "y"]
    assert main(["convert", str(tmp_path / "in"), str(tmp_path / "shell"), "--plate-pattern", "{plate}/..."]) == 0
    assert main(["inspect", str(tmp_path / "in"), "--plate-pattern", "{plate}/..."]) == 0
    assert "plate y: one of 2" in capsys.readouterr().out
    for way in ("convert", "inspect"):
        extra = [str(tmp_path / "no")] if way == "convert" else []
        assert main([way, str(tmp_path / "in"), *extra, "--plate-pattern", "{site}/..."]) == 1
    assert not (tmp_path / "no").exists()


def test_plates_of_npz_files_are_told_apart_by_their_folders(tmp_path):
    for name in ("SQ1/A01/1", "SQ1/A01/2", "SQ2/A01/1"):
        test_npz.site(tmp_path / "features" / f"{name}.npz")
    found = find_plates(tmp_path / "features", None, Store())
    assert [(plate.name, plate.uri) for plate in found] == [
        (name, str(tmp_path / "features" / name)) for name in ("SQ1", "SQ2")
    ]


def _array(path: Path) -> None:
    test_npz.site(path)


def _database(path: Path) -> None:
    made.write_sqlite(path, made.plate(made.JUMP, made.sites(1, 1)))


@pytest.mark.parametrize(
    ("files", "converted", "told"),
    [
        (["EC1/Cells.csv", "EC2.sqlite"], ["EC2"], "EC1/Cells.csv (4 such)"),
        (["EC1/EC1.sqlite", "EC2.sqlite"], ["EC2"], "EC1/EC1.sqlite (1 such)"),
        (["Cells.csv", "x/EC2.sqlite"], ["in"], "x/EC2.sqlite (1 such)"),
        (["EC1/s/Cells.csv", "x/1.npz"], ["in"], "x/1.npz (1 such)"),
        (["EC1/EC1.sqlite", "EC2/EC2.sqlite"], ["EC1", "EC2"], None),
    ],
)
def test_plates_of_another_kind_beside_those_that_are_taken_are_told(tmp_path, files, converted, told):
    for file in files:
        path = tmp_path / "in" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        {".csv": lambda path: site(path.parent), ".sqlite": _database, ".npz": _array}[path.suffix](path)
    found = find_plates(tmp_path / "in", None, Store())
    assert [plate.name for plate in found] == converted
    notes = [plate.note for plate in found if "not converted" in plate.note]
    assert len(notes) == (told is not None) and all(told in note for note in notes)
    if told:
        assert told in str(convert(tmp_path / "in", tmp_path / "out").report)


def test_a_prefix_of_plates_is_several(tmp_path):
    pytest.importorskip("moto.server", reason="the S3 server needs the demo's extra: cytotable-dagster[demo]")
    from cytotable_dagster.demo.s3_server import s3_server, upload_tree

    exports(tmp_path / "in" / "exports")
    (tmp_path / "in" / "exports" / "EC1" / "s2" / "Image.csv").write_bytes(b"")
    with s3_server() as server:
        upload_tree(server, tmp_path / "in", "several")
        cloud = {"endpoint_url": server.endpoint_url, "no_sign_request": True, "local_cache_dir": tmp_path / "cache"}
        found = find_plates("s3://several/exports", None, Store.checked(cloud))
        assert [(plate.name, plate.uri) for plate in found] == [
            (name, f"s3://several/exports/{name}/") for name in ("EC1", "EC2")
        ]
        assert "Metadata_Plate" in found[0].note
        result = convert("s3://several/exports/", tmp_path / "out", **cloud)
    assert [report.plate for report in result.report.plates] == ["EC1", "EC2"]
