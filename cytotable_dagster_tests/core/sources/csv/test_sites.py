"""Sites of CSV plates: copies of them, what their folders say, and what is told of many."""

import gzip
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, errors
from cytotable_dagster.cli.main import main
from cytotable_dagster.core.inspection import inspect_plate
from cytotable_dagster_tests.core.sources.csv import test_combined as test_object_csv
from cytotable_dagster_tests.core.sources.csv.test_csv import read, site, write

TABLES = ("Image", "Cells", "Cytoplasm", "Nuclei")


@pytest.mark.parametrize("kind", ["plain", "packed", "combined", "one packed"])
def test_copies_of_a_site_are_an_error_that_names_both(tmp_path, kind):
    make = test_object_csv.site if kind == "combined" else site
    make(tmp_path / "P1" / "s1", well="A01")
    make(tmp_path / "P1" / "s2", well="A02")
    shutil.copytree(tmp_path / "P1" / "s1", tmp_path / "P1" / "backup" / "s1")
    for file in sorted((tmp_path / "P1").rglob("*.csv")):
        if kind == "packed" or (kind == "one packed" and "backup" in file.parts):
            # With the time in it, packed files of one content differ.
            file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=len(file.parts)))
            file.unlink()
    told = r"P1: (backup/s1 and s1|s1 and backup/s1) have image tables that are equal to the byte.*equal_sites='keep'"
    with pytest.raises(errors.SourceFormatError, match=told):
        convert(tmp_path / "P1", tmp_path / "out")
    with pytest.raises(errors.SourceFormatError, match=told):
        inspect_plate(tmp_path / "P1")
    assert not (tmp_path / "out").exists()
    convert(tmp_path / "P1", tmp_path / "out", equal_sites="keep")
    assert len({row["Metadata_TableNumber"] for row in read(tmp_path / "out")}) == 3
    assert main(["convert", str(tmp_path / "P1"), str(tmp_path / "shell"), "--equal-sites", "keep"]) == 0


def test_image_tables_without_rows_are_no_copies(tmp_path):
    for name in ("a", "b"):
        write(site(tmp_path / "P1" / name) / "Image.csv", ["ImageNumber,Metadata_Well"])
    convert(tmp_path / "P1", tmp_path / "out")
    assert len(read(tmp_path / "out")) == 6
    with pytest.raises(errors.OptionError, match="equal_sites 'both' is not known; there are: refuse, keep"):
        convert(tmp_path / "P1", tmp_path / "no", equal_sites="both")


def without_well(folder: Path, *more: str) -> Path:
    """A site whose image table names neither plate, well nor site, but its folder."""
    own = site(folder)
    write(own / "Image.csv", ["ImageNumber,FileName_DNA", f"1,{folder.name}.tif", *more])
    return own


def test_rows_say_from_which_folder_they_come(tmp_path):
    for name in ("a/one", "b/two"):
        site(tmp_path / "P1" / name, well=name[:1].upper() + "01")
    convert(tmp_path / "P1", tmp_path / "out")
    for table in TABLES:
        found = {(row["Metadata_TableNumber"], row["Metadata_SourceFolder"]) for row in read(tmp_path / "out", table)}
        assert {folder for _, folder in found} == {"a/one", "b/two"}
        assert len(found) == 2
    joined = convert(tmp_path / "P1", tmp_path / "out.parquet")
    names = pq.read_schema(tmp_path / "out.parquet").names
    assert [name for name in names if "SourceFolder" in name] == ["Metadata_SourceFolder"]
    assert not any("SourceFolder" in name for part in joined.report.compartments for name in part.dropped)
    assert (
        pq.read_table(tmp_path / "out.parquet", columns=["Metadata_SourceFolder", "Metadata_Well"])
        .group_by(["Metadata_SourceFolder", "Metadata_Well"])
        .aggregate([])
        .num_rows
        == 2
    )
    convert(tmp_path / "P1" / "a" / "one", tmp_path / "single")
    assert not any("SourceFolder" in name for name in pq.read_schema(tmp_path / "single" / "Cells.parquet").names)


def test_the_gallerys_folders_tell_plate_well_and_site(tmp_path):
    for name in ("EC000138-A01-1", "EC000138-B12-10"):
        without_well(tmp_path / "EC000138" / "analysis" / name)
    result = convert(tmp_path / "EC000138", tmp_path / "out")
    how = "by the folders' names, {plate}-{well}-{site}, as in analysis/EC000138-A01-1"
    note = f"Metadata_Plate, Metadata_Site, Metadata_Well: {how}"
    assert note in result.report.notes
    assert note in str(inspect_plate(tmp_path / "EC000138"))
    for table in TABLES:
        found = {
            (row["Metadata_Plate"], row["Metadata_Well"], row["Metadata_Site"]) for row in read(tmp_path / "out", table)
        }
        assert found == {("EC000138", "A01", 1), ("EC000138", "B12", 10)}
    convert(tmp_path / "EC000138", tmp_path / "out.parquet")
    joined = pq.read_table(tmp_path / "out.parquet")
    wells = zip(joined["Image_FileName_DNA"].to_pylist(), joined["Metadata_Well"].to_pylist(), strict=True)
    assert all(f"-{well}-" in file for file, well in wells)
    assert sorted(name for name in joined.column_names if name.endswith(("Plate", "Well", "Site"))) == [
        "Metadata_Plate", "Metadata_Site", "Metadata_Well",
    ]  # fmt: skip


def test_a_barcode_of_digits_stays_a_name(tmp_path):
    for plate in ("110000106828", "EC000138"):
        without_well(tmp_path / "in" / plate / "analysis" / f"{plate}-A01-1")
    convert(tmp_path / "in", tmp_path / "out")
    assert {row["Metadata_Plate"] for row in read(tmp_path / "out")} == {"110000106828", "EC000138"}


@pytest.mark.parametrize("column", ["Metadata_Well", "Image_Metadata_Well", "metadata_well"])
def test_what_a_table_says_is_not_told_by_its_folder(tmp_path, column):
    for well, number in (("A01", 7), ("A02", 8)):
        own = site(tmp_path / "P1" / f"P1-{well}-1")
        write(own / "Image.csv", [f"ImageNumber,{column},Metadata_Field", f"1,Z{number},{number}"])
    report = convert(tmp_path / "P1", tmp_path / "out").report
    assert "Metadata_Plate: by the folders' names, {plate}-{well}-{site}, as in P1-A01-1" in report.notes
    image = read(tmp_path / "out", "Image")
    assert {row["Metadata_Well"] for row in image} == {"Z7", "Z8"}
    assert {row["Metadata_Site"] for row in image} == {7, 8}
    assert not any(
        "Well" in name or "Site" in name for name in pq.read_schema(tmp_path / "out" / "Cells.parquet").names
    )


def test_a_pattern_says_what_folders_are_called(tmp_path):
    for name in ("A01/f001", "A02/f002"):
        without_well(tmp_path / "P1" / name)
    convert(tmp_path / "P1", tmp_path / "out", site_pattern="{well}/f{site}")
    assert {(row["Metadata_Well"], row["Metadata_Site"]) for row in read(tmp_path / "out")} == {
        ("A01", "001"), ("A02", "002"),
    }  # fmt: skip
    assert pq.read_schema(tmp_path / "out" / "Image.parquet").field("Metadata_Site").type == pa.string()
    convert(tmp_path / "P1" / "A01", tmp_path / "one", site_pattern="{well}/{dish}")
    assert {(row["Metadata_Well"], row["Metadata_Dish"]) for row in read(tmp_path / "one")} == {("A01", "f001")}
    with pytest.raises(errors.OptionError, match=r"folder A01/f001 does not fit site_pattern '{well}-{site}/f001'"):
        convert(tmp_path / "P1", tmp_path / "no", site_pattern="{well}-{site}/f001")
    with pytest.raises(errors.OptionError, match="no placeholder in it"):
        convert(tmp_path / "P1", tmp_path / "no", site_pattern="A01")
    assert main(["convert", str(tmp_path / "P1"), str(tmp_path / "shell"), "--site-pattern", "{well}/{site}"]) == 0
    assert {row["Metadata_Site"] for row in read(tmp_path / "shell")} == {"f001", "f002"}
    assert not (tmp_path / "no").exists()


def test_a_site_whose_table_lacks_the_column_is_told_by_its_folder(tmp_path):
    site(tmp_path / "P1" / "P1-A01-1", well="A01")
    without_well(tmp_path / "P1" / "P1-A02-1")
    convert(tmp_path / "P1", tmp_path / "out", chunk_size=1)
    assert sorted(row["Metadata_Well"] for row in read(tmp_path / "out", "Image")) == ["A01", "A02"]


def test_what_many_sites_lack_is_told_in_one_line(tmp_path):
    for number in range(1, 13):
        own = site(tmp_path / "P1" / f"P1-A{number:02}-1", well=f"A{number:02}")
        with (own / "Image.csv").open("a") as image:
            image.write("2\n")
        if number > 1:
            (own / "Cytoplasm.csv").unlink()
            (own / "Nuclei.csv").write_bytes(b"")
    (tmp_path / "P1" / "P1-A03-1" / "Cells.csv").unlink()
    report = convert(tmp_path / "P1", tmp_path / "out").report
    assert report.skipped_rows == 12
    assert report.skipped[-1] == (
        f"{tmp_path}/P1/P1-A06-1/Image.csv and 6 more", "7 records have not as many fields as the header"
    )  # fmt: skip
    assert report.skipped[:3] == (
        ("P1-A03-1/Cells.csv", "not there"),
        ("P1-A02-1/Cytoplasm.csv and 10 more", "not there"),
        ("P1-A02-1/Nuclei.csv and 10 more", "empty (0 bytes)"),
    )
