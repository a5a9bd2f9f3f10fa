"""The joined table: what a LEFT JOIN of the source's tables says, one row for each row of the base."""

import random
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytotable_dagster import convert
from cytotable_dagster.core.errors import SchemaError, TargetError
from cytotable_dagster_tests.core.plates import (
    CYTOMINER,
    DIALECTS,
    EXPORT,
    JUMP,
    OBJECTS,
    Site,
    Table,
    object_column,
    plate,
    sites,
    table_name,
    write_sqlite,
)

# Two exports that number their images alike; image 2 of the second is divided over the file.
REPEATED = (Site(1, 1, 3), Site(1, 2, 2), Site(2, 1, 4), Site(2, 2, 0), Site(2, 3, 1))


def _left_join(path: Path, dialect: str) -> list[tuple]:
    """What SQLite itself joins: object number and area of cytoplasm, cell and nucleus, and the image file."""
    keys = ["ImageNumber"] if dialect == EXPORT else ["TableNumber", "ImageNumber"]

    def on(partner: str) -> str:
        return " AND ".join(f"base.{key} = {partner}.{key}" for key in keys)

    base, cells, nuclei, image = (table_name(dialect, name) for name in ("Cytoplasm", "Cells", "Nuclei", "Image"))
    number = {name: object_column(dialect, name) for name in OBJECTS}
    file_name = "FileName_OrigDNA" if dialect == JUMP else "Image_FileName_OrigDNA"
    order = ", ".join(f"CAST(base.{key} AS INTEGER)" for key in keys)
    query = f"""
        SELECT base.{number["Cytoplasm"]}, base.Cytoplasm_AreaShape_Area, cells.{number["Cells"]},
               cells.Cells_AreaShape_Area, nuclei.{number["Nuclei"]}, nuclei.Nuclei_AreaShape_Area, image.{file_name}
        FROM {base} AS base
        LEFT JOIN {cells} AS cells ON {on("cells")} AND base.Cytoplasm_Parent_Cells = cells.{number["Cells"]}
        LEFT JOIN {nuclei} AS nuclei ON {on("nuclei")} AND base.Cytoplasm_Parent_Nuclei = nuclei.{number["Nuclei"]}
        LEFT JOIN {image} AS image ON {on("image")}
        ORDER BY {order}, base.{number["Cytoplasm"]}"""
    with sqlite3.connect(path) as link:
        return link.execute(query).fetchall()


def _same_columns(joined: pa.Table, dialect: str) -> list[tuple]:
    names = {
        EXPORT: [f"Metadata_{name}_Number_Object_Number" for name in ("Cytoplasm", "Cells", "Nuclei")],
        JUMP: ["Metadata_ObjectNumber", "Metadata_Cells_ObjectNumber", "Metadata_Nuclei_ObjectNumber"],
        CYTOMINER: [f"Metadata_{name}_ObjectNumber" for name in ("Cytoplasm", "Cells", "Nuclei")],
    }[dialect]
    wanted = [
        column
        for name, key in zip(("Cytoplasm", "Cells", "Nuclei"), names, strict=True)
        for column in (key, f"{name}_AreaShape_Area")
    ]
    columns = [joined[name].to_pylist() for name in [*wanted, "Image_FileName_OrigDNA"]]
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("chunk_size", [1, 1000])
def test_the_joined_table_is_the_left_join_of_the_source(make_plate, tmp_path, storage, dialect, chunk_size):
    images = sites(3, 0, 2, 5) if dialect == EXPORT else REPEATED
    source = make_plate(plate(dialect, images), shuffled=1, **storage)
    joined = pq.read_table(convert(source, tmp_path / "out.parquet", chunk_size=chunk_size))
    assert _same_columns(joined, dialect) == _left_join(source, dialect)
    assert joined.num_rows == sum(site.cells for site in images)


odd_plates = st.tuples(
    st.sampled_from(DIALECTS),
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(-2, 4), st.integers(0, 4)), unique_by=lambda s: s[:2], max_size=7
    ),
    st.integers(0, 2**32),
    st.integers(1, 6),
)


@settings(max_examples=25)
@given(odd_plates)
def test_any_plate_with_rows_gone_and_parents_wrong_is_joined_as_sqlite_would(odd):
    dialect, keys, seed, chunk_size = odd
    if dialect == EXPORT:
        keys = [(0, image, cells) for image, cells in {image: cells for _, image, cells in keys}.items()]
    tables = _disturbed(plate(dialect, [Site(*key) for key in keys]), random.Random(seed))
    with TemporaryDirectory() as folder:
        source = write_sqlite(Path(folder) / "P.sqlite", tables, shuffled=seed)
        joined = pq.read_table(convert(source, Path(folder) / "out.parquet", preset=dialect, chunk_size=chunk_size))
        assert _same_columns(joined, dialect) == _left_join(source, dialect)


def _disturbed(tables: dict[str, Table], chance: random.Random) -> dict[str, Table]:
    """Some rows of every table left out, some parents null, nowhere, or shared by several cytoplasms."""
    for table in tables.values():
        table.rows = [row for row in table.rows if chance.random() < 0.8]
        for row in table.rows:
            for parent in ("Cytoplasm_Parent_Cells", "Cytoplasm_Parent_Nuclei"):
                if parent in row and chance.random() < 0.3:
                    row[parent] = chance.choice([None, 0, 1, 2, 10**12, -1])
    return tables


def test_equal_image_numbers_of_two_exports_never_mix_sites(converted, storage):
    (joined,) = converted(plate(JUMP, REPEATED), storage, join=True).values()
    for row in joined.to_pylist():
        expected = f"{row['Metadata_TableNumber']}-{row['Metadata_ImageNumber']}.tiff"
        assert row["Image_FileName_OrigDNA"] == expected
        assert row["Cells_AreaShape_Area"] == row["Cytoplasm_AreaShape_Area"]


def test_the_joined_columns_of_a_jump_plate_are_ordered_and_each_named_once(converted):
    (joined,) = converted(join=True).values()
    assert joined.column_names == [
        "Metadata_TableNumber",
        "Metadata_ImageNumber",
        "Metadata_ObjectNumber",
        "Metadata_Cells_ObjectNumber",
        "Metadata_Cytoplasm_Parent_Cells",
        "Metadata_Cytoplasm_Parent_Nuclei",
        "Metadata_Image_Metadata_Site",
        "Metadata_Nuclei_ObjectNumber",
        "Metadata_Plate",
        "Metadata_Site",
        "Metadata_Well",
        "Image_FileName_OrigDNA",
        "Image_MD5Digest_OrigDNA",
        "Cytoplasm_AreaShape_Area",
        "Cytoplasm_Intensity_Mean",
        "Cells_AreaShape_Area",
        "Cells_Intensity_Mean",
        "Nuclei_AreaShape_Area",
        "Nuclei_Intensity_Mean",
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_image_features_adds_every_column_of_the_image_table(make_plate, tmp_path, dialect):
    source = make_plate(plate(dialect))
    few = pq.read_table(convert(source, tmp_path / "few.parquet"))
    all_ = pq.read_table(convert(source, tmp_path / "all.parquet", image_features=True))
    assert "Image_Count_Cells" not in few.column_names
    assert set(all_.column_names) - set(few.column_names) == {"Image_Count_Cells"}
    assert all_["Image_Count_Cells"].to_pylist() == [3.0, 3.0, 3.0, 2.0, 2.0]


def test_drop_null_leaves_out_rows_in_which_any_column_is_null(converted):
    (joined,) = converted(join=True, drop_null=True).values()
    assert joined["Metadata_ObjectNumber"].to_pylist() == [1, 2, 1, 2]
    assert all(column.null_count == 0 for column in joined.columns)


def test_drop_null_may_leave_nothing_but_the_schema(converted):
    tables = plate(JUMP)
    tables["Nuclei"].rows.clear()
    (joined,) = converted(tables, join=True, drop_null=True, chunk_size=1).values()
    assert joined.num_rows == 0
    assert "Nuclei_AreaShape_Area" in joined.column_names


@pytest.mark.parametrize(
    ("gone", "base", "rows"), [(("Cytoplasm",), "Cells", 5), (("Cytoplasm", "Cells"), "Nuclei", 7)]
)
def test_without_the_usual_base_the_next_compartment_is_the_base(converted, gone, base, rows):
    tables = plate(JUMP)
    for name in gone:
        del tables[name]
    (joined,) = converted(tables, join=True).values()
    assert joined.num_rows == rows
    assert f"{base}_AreaShape_Area" in joined.column_names
    assert joined["Image_FileName_OrigDNA"].null_count == 0


def test_a_plate_without_an_image_table_is_joined_without_it(converted):
    tables = plate(JUMP)
    del tables["Image"]
    (joined,) = converted(tables, join=True).values()
    assert joined.num_rows == 5
    assert not any(name.startswith("Image") for name in joined.column_names)


def test_a_base_without_parent_columns_is_joined_to_the_image_alone(converted):
    tables = plate(JUMP)
    del tables["Cytoplasm"].columns["Cytoplasm_Parent_Cells"]
    (joined,) = converted(tables, join=True).values()
    assert joined.num_rows == 5
    assert "Cells_AreaShape_Area" not in joined.column_names
    assert joined["Nuclei_AreaShape_Area"].null_count == 1


def test_there_is_nothing_to_join_where_only_images_are_asked_for(make_plate, tmp_path):
    with pytest.raises(TargetError):
        convert(make_plate(), tmp_path / "out.parquet", targets=["image"])
    assert not (tmp_path / "out.parquet").exists()


def test_two_tables_that_would_give_one_column_are_refused_naming_both(make_plate, tmp_path):
    tables = plate(JUMP)
    tables["Cytoplasm"].add_column("Cells_ObjectNumber", "BIGINT", range(5))
    identifying = ["TableNumber", "ImageNumber", "ObjectNumber", "Cells_ObjectNumber"]
    with pytest.raises(SchemaError, match="Cytoplasm and Cells both have a column Metadata_Cells_ObjectNumber"):
        convert(make_plate(tables), tmp_path / "out.parquet", identifying_columns=identifying)


def test_text_and_binary_columns_travel_with_their_rows(converted):
    tables = plate(JUMP)
    tables["Cells"].add_column("Cells_Name", "TEXT", ["a", None, "c", "d", "é"])
    tables["Cells"].add_column("Cells_Crop", "BLOB", [b"a", None, b"", b"d", b"\xff"])
    (joined,) = converted(tables, join=True, chunk_size=1).values()
    assert joined["Metadata_Cells_Name"].to_pylist() == ["a", None, "c", "d", "é"]
    assert joined["Metadata_Cells_Crop"].to_pylist() == [b"a", None, b"", b"d", b"\xff"]
