"""What columns are called by default and by `names="cytotable"`; plate, well, site, object number; one name a dataset."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets
from cytotable_dagster.core.errors import OptionError, SchemaError
from cytotable_dagster.core.model.names import column_name, names_no_measurement
from cytotable_dagster.core.model.presets import PRESETS
from cytotable_dagster_tests.core.plates import DIALECTS, EXPORT, JUMP, plate, sites, table_name, write_sqlite

CSV, IN_CARTA, NPZ = "cellprofiler_csv", "in-carta", "deepprofiler"


@pytest.mark.parametrize(
    ("column", "compartment", "preset", "name"),
    [
        ("Cells_FileName_DNA", "Cells", JUMP, "Metadata_Cells_FileName_DNA"),
        ("FileName_DNA", "Cells", CSV, "Metadata_Cells_FileName_DNA"),
        ("Cells_Metadata_Dose", "Cells", JUMP, "Metadata_Cells_Metadata_Dose"),
        ("Cytoplasm_Parent_Cells", "Cytoplasm", JUMP, "Metadata_Cytoplasm_Parent_Cells"),
        ("Parent_OrigNuclei", "Nuclei", CSV, "Metadata_Nuclei_Parent_OrigNuclei"),
        ("Cells_Number_Object_Number", "Cells", EXPORT, "Metadata_Cells_Number_Object_Number"),
        (
            "Cells_TrackObjects_ParentImageNumber_50",
            "Cells",
            EXPORT,
            "Metadata_Cells_TrackObjects_ParentImageNumber_50",
        ),
        ("Cells_Children_Nuclei_Count", "Cells", EXPORT, "Cells_Children_Nuclei_Count"),
        ("Cells_Location_Center_X", "Cells", EXPORT, "Cells_Location_Center_X"),
        ("Cells_Neighbors_NumberOfNeighbors_5", "Cells", EXPORT, "Cells_Neighbors_NumberOfNeighbors_5"),
        ("FileName_DNA", "Image", JUMP, "Image_FileName_DNA"),
        ("Cells Area wv3", "Cells", IN_CARTA, "Cells_Cells Area wv3"),
        ("WELL LABEL", "Cells", IN_CARTA, "Metadata_WELL LABEL"),
        ("efficientnet_7", "Cells", NPZ, "Cells_efficientnet_7"),
        ("Metadata_Well", "Cells", NPZ, "Metadata_Well"),
    ],
)
def test_what_measures_starts_with_the_compartment_and_all_else_of_objects_with_metadata(
    column, compartment, preset, name
):
    measured = not names_no_measurement(column)
    assert column_name(column, compartment, PRESETS[preset], "default", measured=measured) == name


@pytest.mark.parametrize("dialect", DIALECTS)
def test_text_and_bytes_are_no_measurements_whatever_they_are_called(converted, dialect):
    tables = plate(dialect)
    cells = tables[table_name(dialect, "Cells")]
    cells.add_column("Cells_Label", "TEXT", "abcde")
    cells.add_column("Cells_Crop", "BLOB", [b"\xff"] * 5)
    names = converted(tables)["Cells"].column_names
    assert {"Metadata_Cells_Label", "Metadata_Cells_Crop", "Metadata_ObjectNumber"} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_cytotables_names_are_those_of_the_source_and_the_preset_and_no_more(make_plate, tmp_path, dialect):
    source = make_plate(plate(dialect))
    convert(source, tmp_path / "out", names="cytotable")
    for compartment in ("Image", "Cells"):
        table = pq.read_schema(tmp_path / "out" / f"{compartment}.parquet")
        assert len(table.names) == len(plate(dialect)[table_name(dialect, compartment)].columns)
    names = pq.read_schema(convert(source, tmp_path / "joined.parquet", names="cytotable").outputs[0].path).names
    assert "Cytoplasm_Parent_Cells" in names or dialect not in (EXPORT, JUMP)
    assert "Metadata_Site" not in names and "Image_Metadata_Site" in names


def test_names_that_are_not_known_are_refused(make_plate, tmp_path):
    source = make_plate()
    for options in ({"names": "mine"}, {"unmatched": "perhaps"}):
        with pytest.raises(OptionError, match="is not known; there are"):
            convert(source, tmp_path / "out", **options)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_plate_well_site_and_object_number_stand_beside_what_the_source_calls_them(make_plate, tmp_path, dialect):
    source = make_plate(plate(dialect, sites(3, 2)))
    convert(source, tmp_path / "out")
    image = pq.read_table(tmp_path / "out" / "Image.parquet")
    prefix = "" if dialect == JUMP else "Image_"
    assert image["Metadata_Plate"].equals(image[f"{prefix}Metadata_Plate"])
    assert image["Metadata_Well"].to_pylist() == ["A01", "A02"]
    assert image["Metadata_Site"].equals(image["Image_Metadata_Site"])
    cells = pq.read_table(tmp_path / "out" / "Cells.parquet")
    assert cells["Metadata_ObjectNumber"].to_pylist() == [1, 2, 3, 1, 2]
    joined = pq.read_table(convert(source, tmp_path / "joined.parquet"))
    assert joined["Metadata_Well"].to_pylist() == ["A01"] * 3 + ["A02"] * 2
    assert (
        joined["Metadata_Site"].to_pylist() == joined["Metadata_Image_Metadata_Site"].to_pylist() == [1] * 3 + [2] * 2
    )
    assert joined["Metadata_ObjectNumber"].to_pylist() == [1, 2, 3, 1, 2]
    assert set(joined["Metadata_Plate"].to_pylist()) == {"P1"}
    # Which pycytominer's annotate would call Metadata_Well once more.
    assert "Image_Metadata_Well" not in joined.column_names


def test_a_column_without_a_value_names_no_plate(make_plate, tmp_path):
    tables = plate(EXPORT)
    for row in tables["Per_Image"].rows:
        row["Image_Metadata_Plate"] = row["Image_Metadata_Well"] = None
    joined = pq.read_table(convert(make_plate(tables), tmp_path / "joined.parquet"))
    assert set(joined["Metadata_Plate"].to_pylist()) == {"P1"}
    assert joined["Image_Metadata_Well"].null_count == 5
    assert "Metadata_Well" not in joined.column_names


def test_names_of_the_lab_are_given_in_a_preset(make_plate, tmp_path):
    tables = plate(JUMP)
    image = tables["Image"]
    for old, new in (("Metadata_Plate", "Assay"), ("Metadata_Well", "Position"), ("Metadata_Site", "Metadata_field")):
        image.columns[new] = image.columns.pop(old)
        image.rows = [{new if name == old else name: value for name, value in row.items()} for row in image.rows]
    (tmp_path / "lab.toml").write_text(f'based_on = "{JUMP}"\nplate_columns = ["Assay"]\nwell_columns = ["Position"]\n')
    joined = pq.read_table(convert(make_plate(tables), tmp_path / "joined.parquet", preset=str(tmp_path / "lab.toml")))
    assert joined["Metadata_Plate"].to_pylist() == ["P1"] * 5
    assert joined["Metadata_Well"].to_pylist() == ["A01"] * 3 + ["A02"] * 2
    assert joined["Metadata_Site"].to_pylist() == [1] * 3 + [2] * 2


def _plates(folder, labels: dict[str, list], declared: dict[str, str] | None = None):
    """Plates whose cells have a column of these values."""
    for name, values in labels.items():
        tables = plate(JUMP, sites(2, table=ord(name)))
        tables["Cells"].add_column("Cells_Label", (declared or {}).get(name, ""), values)
        write_sqlite(folder / f"{name}.sqlite", tables)
    return folder


ONE_NAME = {
    "empty, then text": ({"A": [None, None], "B": ["x", "y"]}, {}, "Metadata_Cells_Label", [None, None, "x", "y"]),
    "text, then empty": ({"A": ["x", "y"], "B": [None, None]}, {}, "Metadata_Cells_Label", ["x", "y", None, None]),
    "empty text, then numbers": ({"A": [None] * 2, "B": [0.5, 2]}, {"A": "TEXT"}, "Cells_Label", [None, None, 0.5, 2]),
}  # fmt: skip


@pytest.mark.parametrize("case", ONE_NAME)
@pytest.mark.parametrize("schema", ["union", "intersection"])
def test_a_column_has_one_name_on_all_plates_though_some_have_no_value_in_it(tmp_path, case, schema):
    labels, declared, name, values = ONE_NAME[case]
    folder = _plates(tmp_path / "plates", labels, declared)
    convert(folder, tmp_path / "one", schema=schema)
    table = pq.read_table(tmp_path / "one" / "Cells.parquet")
    assert [column for column in table.column_names if "Label" in column] == [name]
    assert table[name].to_pylist() == values
    # The same plate by plate, where the first is there when the second comes.
    for plate_name in labels:
        datasets.add(folder / f"{plate_name}.sqlite", tmp_path / "set", schema=schema)
    files = sorted((tmp_path / "set" / "Cells").rglob("*.parquet"))
    parts = [pq.ParquetFile(file).read() for file in files]
    assert {column for part in parts for column in part.column_names if "Label" in column} == {name}
    assert pa.concat_tables(part.select([name]) for part in parts)[name].to_pylist() == values


def test_numbers_on_one_plate_and_text_on_another_are_still_an_error(tmp_path):
    folder = _plates(tmp_path / "plates", {"A": [1.5, None], "B": ["x", "y"]})
    with pytest.raises(SchemaError, match=r"Cells_Label is .* on plate A and .*, as Metadata_Cells_Label, on plate B"):
        convert(folder, tmp_path / "out")
    with pytest.raises(SchemaError, match="plate A"):
        convert(folder, tmp_path / "set", concat=False)


def test_names_of_plates_that_are_numbers_stand_as_text_beside_others(tmp_path):
    for file, barcode in (("a", 12345), ("b", "BR12")):
        tables = plate(JUMP, sites(2, table=ord(file)))
        tables["Image"].columns["Metadata_Plate"] = ""
        for row in tables["Image"].rows:
            row["Metadata_Plate"] = barcode
        write_sqlite(tmp_path / "in" / f"{file}.sqlite", tables)
    convert(tmp_path / "in", tmp_path / "out")
    for name in ("Image", "Cells"):
        assert set(pq.read_table(tmp_path / "out" / f"{name}.parquet")["Metadata_Plate"].to_pylist()) == {
            "12345",
            "BR12",
        }


def test_tables_of_several_plates_say_the_plate_in_every_file(tmp_path):
    for file in ("a", "b"):
        tables = plate(JUMP, sites(2, table=ord(file)))
        for row in tables["Image"].rows:
            row["Metadata_Plate"] = f"barcode of {file}"
        write_sqlite(tmp_path / "in" / f"{file}.sqlite", tables)
    convert(tmp_path / "in", tmp_path / "out")
    for name in ("Image", "Cells", "Cytoplasm", "Nuclei"):
        found = pq.read_table(tmp_path / "out" / f"{name}.parquet")["Metadata_Plate"].to_pylist()
        assert sorted(set(found)) == ["barcode of a", "barcode of b"]


@pytest.mark.parametrize("chunk_size", [1, 1000])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_rows_that_lack_an_object_are_dropped_where_asked_and_counted(
    make_plate, tmp_path, storage, dialect, chunk_size
):
    source = make_plate(plate(dialect, sites(3, 4, 0, 1)), **storage)
    kept = pq.read_table(convert(source, tmp_path / "keep.parquet", chunk_size=chunk_size))
    result = convert(source, tmp_path / "drop.parquet", chunk_size=chunk_size, unmatched="drop")
    dropped = pq.read_table(result)
    whole = kept.filter(kept["Nuclei_AreaShape_Area"].is_valid())
    assert dropped.replace_schema_metadata().equals(whole.replace_schema_metadata())
    assert (result.report.unmatched_rows, result.report.dropped_rows) == (2, 0)
    assert "6 rows, one for each of Cytoplasm, 2 left out that lack Cells or Nuclei" in str(result.report)
    assert not any("have no Nuclei" in line for line in result.report.problems)


def test_a_query_is_in_cytotables_names_and_leaves_out_itself(make_plate, tmp_path):
    source, query = make_plate(), "SELECT Cytoplasm_Parent_Cells FROM 'cytoplasm.parquet'"
    made = pq.read_table(convert(source, tmp_path / "out.parquet", joins=query))
    assert made.column_names == ["Cytoplasm_Parent_Cells"]
    with pytest.raises(OptionError, match="leave out rows in the query"):
        convert(source, tmp_path / "other.parquet", joins=query, unmatched="drop")
