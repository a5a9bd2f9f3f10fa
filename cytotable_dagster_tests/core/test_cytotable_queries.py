"""The queries that CytoTable's presets have are taken as they are."""

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster.core.errors import OptionError, StrictError
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.core.sources.csv.test_csv import site

# CONFIG_JOINS of CytoTable 1.2.6, BSD-3-Clause.
OF_JUMP = """
    SELECT image.Image_TableNumber, image.Metadata_ImageNumber, image.Metadata_Plate, image.Metadata_Well,
        image.Image_Metadata_Site, image.Image_Metadata_Row, COLUMNS('Image_FileName_.*'),
        cytoplasm.* EXCLUDE (Metadata_ImageNumber), cells.* EXCLUDE (Metadata_ImageNumber),
        nuclei.* EXCLUDE (Metadata_ImageNumber)
    FROM read_parquet('cytoplasm.parquet') AS cytoplasm
    LEFT JOIN read_parquet('cells.parquet') AS cells ON
        cells.Metadata_ImageNumber = cytoplasm.Metadata_ImageNumber
        AND cells.Metadata_ObjectNumber = cytoplasm.Cytoplasm_Parent_Cells
    LEFT JOIN read_parquet('nuclei.parquet') AS nuclei ON
        nuclei.Metadata_ImageNumber = cytoplasm.Metadata_ImageNumber
        AND nuclei.Metadata_ObjectNumber = cytoplasm.Cytoplasm_Parent_Nuclei
    LEFT JOIN read_parquet('image.parquet') AS image ON image.Metadata_ImageNumber = cytoplasm.Metadata_ImageNumber
"""
OF_CSV = """
    SELECT image.Metadata_ImageNumber, COLUMNS('Image_FileName_.*'), cytoplasm.* EXCLUDE (Metadata_ImageNumber),
        cells.* EXCLUDE (Metadata_ImageNumber, Metadata_ObjectNumber),
        nuclei.* EXCLUDE (Metadata_ImageNumber, Metadata_ObjectNumber)
    FROM read_parquet('cytoplasm.parquet') AS cytoplasm
    LEFT JOIN read_parquet('cells.parquet') AS cells USING (Metadata_ImageNumber)
    LEFT JOIN read_parquet('nuclei.parquet') AS nuclei USING (Metadata_ImageNumber)
    LEFT JOIN read_parquet('image.parquet') AS image USING (Metadata_ImageNumber)
    WHERE cells.Metadata_ObjectNumber = cytoplasm.Metadata_Cytoplasm_Parent_Cells
        AND nuclei.Metadata_ObjectNumber = cytoplasm.Metadata_Cytoplasm_Parent_Nuclei
"""


def test_the_query_for_jump_gives_cytotables_columns(make_plate, tmp_path):
    tables = plate(JUMP, sites(3, 2))
    tables["Image"].add_column("Metadata_Row", "BIGINT", [1, 2])
    made = pq.read_table(convert(make_plate(tables), tmp_path / "out.parquet", joins=OF_JUMP))
    assert made.num_rows == 5
    numbers = {f"{name}_TableNumber" for name in ("Image", "Cytoplasm", "Cells", "Nuclei")}
    objects = {"Metadata_ObjectNumber", "Metadata_ObjectNumber_1", "Metadata_ObjectNumber_2"}
    assert numbers | objects <= set(made.column_names)
    assert made["Image_TableNumber"].equals(made["Cells_TableNumber"])
    assert made["Metadata_ObjectNumber_1"].to_pylist() == made["Cytoplasm_Parent_Cells"].to_pylist()


def test_the_query_for_csv_takes_several_sites(tmp_path):
    for well in ("A01", "A02"):
        site(tmp_path / "P1" / well, well=well)
    made = pq.read_table(convert(tmp_path / "P1", tmp_path / "out.parquet", joins=OF_CSV))
    assert {"Cytoplasm_TableNumber", "Cells_TableNumber", "Nuclei_TableNumber"} <= set(made.column_names)


@pytest.mark.parametrize(
    "source",
    [
        *("'image.parquet'", "read_parquet('Image.parquet')", "read_parquet( 'image.parquet' )"),
        *("\n  'image.parquet'", "(SELECT 1), 'per_image.parquet'", "parquet_scan('image.parquet')"),
    ],
)
def test_an_alias_is_known_however_the_file_is_read(make_plate, tmp_path, source):
    query = f"SELECT image.Image_TableNumber FROM {source} AS image ORDER BY 1"
    made = pq.read_table(convert(make_plate(), tmp_path / "out.parquet", joins=query))
    assert made.to_pydict() == {"Image_TableNumber": [1001, 1002]}


def test_a_number_may_be_named_in_both_ways_and_in_any_case(make_plate, tmp_path):
    query = "SELECT image.image_tablenumber, i.Metadata_TableNumber FROM 'image.parquet' image, 'image.parquet' i"
    made = pq.read_table(convert(make_plate(), tmp_path / "out.parquet", joins=query))
    assert sorted(made.column_names) == ["Image_TableNumber", "Metadata_TableNumber"]


def test_of_several_plates_the_number_is_the_sources_own(tmp_path):
    for name, number in (("A", 7), ("B", 8)):
        tables = plate(JUMP, sites(3, 2, table=number))
        tables["Image"].add_column("Metadata_Row", "BIGINT", [1, 2])
        write_sqlite(tmp_path / "plates" / f"{name}.sqlite", tables)
    made = pq.read_table(convert(tmp_path / "plates", tmp_path / "out.parquet", joins=OF_JUMP))
    assert made.num_rows == 10
    assert set(made["Image_TableNumber"].to_pylist()) == {7, 8}
    assert made["Image_TableNumber"].equals(made["Cytoplasm_TableNumber"])
    # What tells the plates apart.
    assert len(set(made["Metadata_TableNumber"].to_pylist())) == 2


def test_images_that_a_query_mixes_are_told_and_refused_by_strict(tmp_path):
    for objects, well in ((3, "A01"), (4, "A02")):
        site(tmp_path / "P1" / well, well=well, objects=objects)
    result = convert(tmp_path / "P1", tmp_path / "out.parquet", joins=OF_CSV)
    (problem,) = result.report.mismatches
    assert "no table has more than 7: images of other exports have the same ImageNumber" in problem
    assert problem in str(result)
    with pytest.raises(StrictError, match="let it join by Metadata_TableNumber as well"):
        convert(tmp_path / "P1", tmp_path / "strict.parquet", joins=OF_CSV, strict=True)
    rows = "SELECT c.* FROM 'cells.parquet' c JOIN 'image.parquet' USING (Metadata_TableNumber, Metadata_ImageNumber)"
    assert convert(tmp_path / "P1", tmp_path / "right.parquet", joins=rows, strict=True).report.mismatches == ()


def test_a_table_that_the_plate_has_not_is_told_with_those_it_has(make_plate, tmp_path):
    tables = plate(JUMP)
    del tables["Cytoplasm"]
    with pytest.raises(OptionError, match=r"\('image.parquet', 'cells.parquet', 'nuclei.parquet'\) and nothing else"):
        convert(make_plate(tables), tmp_path / "out.parquet", joins=OF_JUMP)


def test_our_own_name_is_left_alone_and_other_columns_that_repeat_are_refused(make_plate, tmp_path):
    source = make_plate()
    made = pq.read_table(
        convert(source, tmp_path / "a.parquet", joins="SELECT Metadata_TableNumber FROM 'cells.parquet'")
    )
    assert made.column_names == ["Metadata_TableNumber"]
    with pytest.raises(OptionError, match="column x twice"):
        convert(source, tmp_path / "b.parquet", joins="SELECT 1 AS x, 2 AS x")
