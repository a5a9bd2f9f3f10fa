"""CSV plates that lack tables: images alone, objects without images, one file."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets, errors
from cytotable_dagster.core.inspection import inspect_plate

IMAGES = ["ImageNumber,Metadata_Well,ImageQuality_Focus", "1,A01,0.5", "2,A02,0.7"]
CELLS = ["ImageNumber,ObjectNumber,Area,Parent_Nuclei", "1,1,5,2", "1,2,6,1"]
NUCLEI = ["ImageNumber,ObjectNumber,Area", "1,1,50", "1,2,60"]


def write(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize("name", ["Image.csv", "MyExpt_Image.csv", "a/Image.tsv"])
@pytest.mark.parametrize("targets", [None, ["Image"]])
def test_images_alone_are_a_plate(tmp_path, name, targets):
    lines = [line.replace(",", "\t") for line in IMAGES] if name.endswith("tsv") else IMAGES
    write(tmp_path / "QC" / name, lines)
    result = convert(tmp_path / "QC", tmp_path / "out", targets=targets, strict=True)
    assert [output.path.name for output in result.outputs] == ["Image.parquet"]
    assert pq.read_table(tmp_path / "out" / "Image.parquet")["ImageQuality_Focus"].to_pylist() == [0.5, 0.7]
    assert result.report.notes[0] == "no files are of tables Cells, Cytoplasm, Nuclei"
    assert "no files are of tables" in str(inspect_plate(tmp_path / "QC"))


def test_images_of_several_plates_become_one_table_or_a_dataset(tmp_path):
    for plate in ("A", "B"):
        write(tmp_path / plate / "Image.csv", IMAGES)
    convert([tmp_path / "A", tmp_path / "B"], tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "Image.parquet")
    assert table["Metadata_Plate"].to_pylist() == ["A", "A", "B", "B"]
    datasets.add([tmp_path / "A", tmp_path / "B"], tmp_path / "set")
    assert list(datasets.tables(tmp_path / "set")) == ["Image"]


def test_images_alone_are_no_single_cells_and_no_objects_that_were_asked_for(tmp_path):
    write(tmp_path / "QC" / "Image.csv", IMAGES)
    with pytest.raises(errors.TargetError, match="no table of objects"):
        convert(tmp_path / "QC", tmp_path / "out.parquet")
    with pytest.raises(errors.TargetError, match=r"Speckles\) is there; there are: Image"):
        convert(tmp_path / "QC", tmp_path / "out", compartments=["Speckles"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["QC"]


def test_objects_need_no_image_table(tmp_path):
    for site in ("a", "b"):
        write(tmp_path / "P" / site / "Cells.csv", [*CELLS[:2], CELLS[2].replace("6", str(ord(site)))])
        write(tmp_path / "P" / site / "Nuclei.csv", NUCLEI)
    report = convert(tmp_path / "P", tmp_path / "out", strict=True).report
    assert "no files are of tables Image, Cytoplasm" in report.notes
    convert(tmp_path / "P", tmp_path / "out.parquet")
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert sorted((row["Cells_Area"], row["Nuclei_Area"]) for row in rows) == [(5, 60), (5, 60), (97, 50), (98, 50)]


def test_a_table_that_some_sites_have_is_missed_at_the_others(tmp_path):
    write(tmp_path / "P" / "a" / "Cells.csv", CELLS)
    write(tmp_path / "P" / "b" / "Nuclei.csv", NUCLEI)
    report = convert(tmp_path / "P", tmp_path / "out").report
    assert dict(report.skipped) == {"a/Nuclei.csv": "not there", "b/Cells.csv": "not there"}


def test_one_file_is_a_plate_that_is_called_as_its_folder(tmp_path, monkeypatch):
    file = write(tmp_path / "BR1" / "analysis" / "Cells.csv", CELLS)
    write(tmp_path / "BR1" / "analysis" / "Nuclei.csv", NUCLEI)
    result = convert(file, tmp_path / "out")
    assert result.source.plate == "BR1"
    assert [output.path.name for output in result.outputs] == ["Cells.parquet"]
    monkeypatch.chdir(file.parent)
    assert convert("Cells.csv", tmp_path / "out.parquet").source.plate == "BR1"
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == 2


def test_objects_of_any_name_are_a_plate_where_they_are_named(tmp_path):
    file = write(tmp_path / "P" / "MyExpt_Green_Speckles.csv", NUCLEI)
    for source in (file, file.parent):
        result = convert(source, tmp_path / source.name / "out", compartments=iter(["green_speckles"]))
        assert [output.path.name for output in result.outputs] == ["Green_Speckles.parquet"]
