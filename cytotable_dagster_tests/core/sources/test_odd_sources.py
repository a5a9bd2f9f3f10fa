"""Sources that are right and odd: names, places, modes of SQLite, shapes of tables."""

import shutil
import sqlite3
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster.core.errors import SchemaError
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import EXPORT, JUMP, Table, plate, sites
from cytotable_dagster_tests.digests import digest

ODD_NAMES = [
    "it's",
    'say "this"',
    "100 % done",
    "a#b",
    "a?b&c=d",
    "Zelle größer",
    "細胞",
    "tab\tnew\nline",
    "{braces}",
    "back\\slash",
    "semi;colon--",
    ".hidden",
    "-dash",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_places_may_have_any_name(make_plate, tmp_path, name):
    source = make_plate(name=f"{name}/{name}.sqlite")
    result = convert(source, tmp_path / "to" / name / "out.parquet")
    assert pq.read_metadata(result.path).num_rows == 5
    assert result.source.plate == name
    assert names_in(tmp_path / "to" / name) == ["out.parquet"]


@pytest.mark.parametrize("name", ["it's", "100 % done", "a#b?c&d", "細胞"])
def test_places_may_have_any_name_for_the_scanner_and_for_queries_too(make_plate, tmp_path, name):
    source = make_plate(name=f"{name}/{name}.sqlite", as_views=True)
    result = convert(source, tmp_path / name, targets=["cells"])
    assert result.readers
    assert pq.read_metadata(result.path).num_rows == 5
    joined = convert(source, tmp_path / name / "out.parquet", joins="FROM 'nuclei.parquet'", targets=["nuclei"])
    assert pq.read_metadata(joined.path).num_rows == 7


def test_columns_may_have_any_name(converted, storage):
    names = [*ODD_NAMES, "select", "ORDER BY", "rowid", "table", "index", "", " ", "x" * 300, "Ä" * 70]
    tables = plate(JUMP)
    for place, name in enumerate(names):
        tables["Cells"].add_column(f"Cells_{name}", "BIGINT", [place] * 5)
    cells = converted(tables, storage, targets=["cells"])["Cells"]
    for place, name in enumerate(names):
        assert cells[f"Cells_{name}"].to_pylist() == [place] * 5


def test_columns_named_as_sql_words_or_rowid_are_data(converted, storage):
    tables = plate(JUMP)
    for place, name in enumerate(["rowid", "oid", "_rowid_", "select", "from", "order"]):
        tables["Cells"].add_column(name, "BIGINT", range(place, place + 5))
    cells = converted(tables, storage, targets=["cells"])["Cells"]
    assert cells["Cells_rowid"].to_pylist() == [0, 1, 2, 3, 4]
    assert cells["Cells_order"].to_pylist() == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("compartment", ["It's", 'Say "this"', "Blood cells", "細胞", "Order"])
def test_compartments_may_have_any_name(make_plate, tmp_path, storage, compartment):
    tables = plate(JUMP)
    made = {"Image": tables["Image"], compartment: tables["Nuclei"]}
    result = convert(make_plate(made, **storage), tmp_path / "out", preset=JUMP, compartments=[compartment])
    assert names_in(tmp_path / "out") == sorted(["Image.parquet", f"{compartment}.parquet"])
    assert [output.rows for output in result.outputs] == [2, 7]


def test_table_names_may_be_in_another_case(make_plate, tmp_path, storage):
    tables = {name.upper(): table for name, table in plate(EXPORT).items()}
    result = convert(make_plate(tables, **storage), tmp_path / "out")
    assert [output.path.name for output in result.outputs] == [
        "Image.parquet",
        "Cells.parquet",
        "Cytoplasm.parquet",
        "Nuclei.parquet",
    ]


def test_tables_of_two_thousand_columns_are_converted_and_joined(make_plate, tmp_path):
    tables = plate(JUMP)
    for compartment in ("Cells", "Nuclei"):
        table = tables[compartment]
        for number in range(2000 - len(table.columns)):
            name = f"{compartment}_Texture_{number}"
            table.add_column(name, "FLOAT", [number + row / 8 for row in range(len(table.rows))])
    source = make_plate(tables, pragmas=["page_size=65536"])
    assert [output.columns for output in convert(source, tmp_path / "out", targets=["cells"]).outputs] == [2000]
    joined = pq.read_table(convert(source, tmp_path / "out.parquet", chunk_size=2))
    assert joined["Cells_Texture_1000"].to_pylist() == [1000 + row / 8 for row in range(5)]
    assert joined.num_columns > 4000


def test_a_scanned_table_of_two_thousand_columns_is_converted(converted):
    tables = plate(JUMP)
    for number in range(2000 - len(tables["Cells"].columns)):
        tables["Cells"].add_column(f"Cells_Texture_{number}", "FLOAT", [number + row / 8 for row in range(5)])
    cells = converted(tables, {"as_views": True}, targets=["cells"])["Cells"]
    assert cells.num_columns == 2000
    assert cells["Cells_Texture_1990"].to_pylist() == [1990 + row / 8 for row in range(5)]


@pytest.mark.parametrize("rows", [2047, 2048, 5000])
def test_scanned_tables_longer_than_a_batch_are_joined_row_by_row(make_plate, tmp_path, rows):
    tables = plate(JUMP, sites(3, rows, 3))
    joined = pq.read_table(convert(make_plate(tables, as_views=True), tmp_path / "out.parquet", chunk_size=1000))
    assert joined.num_rows == rows + 6
    assert joined["Cells_AreaShape_Area"] == joined["Cytoplasm_AreaShape_Area"]
    found = joined.filter(joined["Metadata_Nuclei_ObjectNumber"].is_valid())
    numbers = found["Metadata_Nuclei_ObjectNumber"].to_pylist()
    assert numbers == found["Metadata_Cytoplasm_Parent_Nuclei"].to_pylist()
    areas = [
        10_000 * image + 10 * number
        for image, number in zip(found["Metadata_ImageNumber"].to_pylist(), numbers, strict=True)
    ]
    assert found["Nuclei_AreaShape_Area"].to_pylist() == areas


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
@pytest.mark.parametrize("page_size", [512, 65536])
def test_every_encoding_and_page_size_gives_the_same(converted, encoding, page_size):
    tables = plate(JUMP)
    tables["Cells"].add_column("Cells_Name", "TEXT", ["a", "é", "細胞" * 300, "", None])
    cells = converted(tables, {"pragmas": [f'encoding="{encoding}"', f"page_size={page_size}"]})["Cells"]
    assert cells["Metadata_Cells_Name"].to_pylist() == ["a", "é", "細胞" * 300, "", None]
    assert cells["Cells_Intensity_Mean"].to_pylist() == [1.125, 1.25, 1.375, 2.125, 2.25]


def test_tables_without_rowid_are_converted(make_plate, tmp_path):
    source = make_plate()
    with sqlite3.connect(source) as link:
        link.execute("ALTER TABLE Cells RENAME TO Old")
        link.execute(
            "CREATE TABLE Cells (TableNumber BIGINT, ImageNumber BIGINT, ObjectNumber BIGINT, Cells_A FLOAT, "
            "PRIMARY KEY (ImageNumber, TableNumber, ObjectNumber)) WITHOUT ROWID"
        )
        link.execute("INSERT INTO Cells SELECT TableNumber, ImageNumber, ObjectNumber, Cells_Intensity_Mean FROM Old")
        link.execute("DROP TABLE Old")
    link.close()
    result = convert(source, tmp_path / "out", targets=["cells"])
    assert pq.read_table(result)["Cells_A"].to_pylist() == [1.125, 1.25, 1.375, 2.125, 2.25]


def test_rows_deleted_and_changed_before_are_not_seen(make_plate, tmp_path):
    source = make_plate(plate(JUMP, sites(50, 50)))
    with sqlite3.connect(source) as link:
        link.execute("DELETE FROM Cells WHERE ObjectNumber % 2")
        link.execute("UPDATE Cells SET Cells_Intensity_Mean = 7 WHERE ObjectNumber = 4")
        link.execute("ALTER TABLE Cells ADD COLUMN Cells_New BIGINT DEFAULT 3")
        link.execute("ALTER TABLE Cells DROP COLUMN Cells_AreaShape_Area")
    link.close()
    cells = pq.read_table(convert(source, tmp_path / "out", targets=["cells"]))
    assert cells["Metadata_ObjectNumber"].to_pylist() == [*range(2, 51, 2)] * 2
    assert cells["Cells_Intensity_Mean"].to_pylist()[1] == 7.0
    assert set(cells["Cells_New"].to_pylist()) == {3}
    assert "Cells_AreaShape_Area" not in cells.column_names


def test_a_wal_that_was_not_checkpointed_is_part_of_the_plate(make_plate, tmp_path):
    source = make_plate()
    link = sqlite3.connect(source, isolation_level=None)
    try:
        link.execute("PRAGMA journal_mode=WAL")
        link.execute("PRAGMA wal_autocheckpoint=0")
        link.execute("UPDATE Cells SET Cells_Intensity_Mean = 9")
        assert source.with_name("P1.sqlite-wal").stat().st_size > 0
        result = convert(source, tmp_path / "out", targets=["cells"])
        assert set(pq.read_table(result)["Cells_Intensity_Mean"].to_pylist()) == {9.0}
    finally:
        link.close()


def test_a_file_in_wal_mode_without_a_wal_is_read_where_nothing_can_be_written(make_plate, tmp_path):
    source = make_plate()
    with sqlite3.connect(source) as link:
        link.execute("PRAGMA journal_mode=WAL")
    link.close()
    source.chmod(0o444)
    source.parent.chmod(0o555)
    try:
        convert(source, tmp_path / "out")
        assert names_in(source.parent) == ["P1.sqlite"]
    finally:
        source.parent.chmod(0o755)


def test_the_source_and_its_folder_are_not_touched(make_plate, tmp_path, storage):
    source = make_plate(**storage)
    before = (digest(source), source.stat().st_mtime_ns, names_in(source.parent))
    convert(source, tmp_path / "out")
    assert (digest(source), source.stat().st_mtime_ns, names_in(source.parent)) == before


def test_a_plate_on_a_read_only_file_system_is_converted(make_plate, tmp_path):
    source = make_plate()
    with sqlite3.connect(source) as link:
        link.execute("PRAGMA journal_mode=WAL")
    link.close()
    mount = 'mount --bind -o ro "$0" "$0"'
    alone = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*alone, mount, source.parent], check=False).returncode:
        pytest.skip("no mount of our own can be made here")
    code = "import sys; from cytotable_dagster import convert; convert(sys.argv[1], sys.argv[2])"
    command = [*alone, f'{mount} && ! touch "$0/x" && exec "$@"', source.parent, sys.executable, "-c", code]
    ran = subprocess.run([*command, source, tmp_path / "out.parquet"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == 5


def test_symbolic_links_are_followed(make_plate, tmp_path):
    source = make_plate()
    (tmp_path / "link.sqlite").symlink_to(source)
    (tmp_path / "folder").symlink_to(source.parent, target_is_directory=True)
    (tmp_path / "real").mkdir()
    (tmp_path / "dest").symlink_to(tmp_path / "real", target_is_directory=True)
    assert convert(tmp_path / "link.sqlite", tmp_path / "one.parquet").source.plate == "link"
    convert(tmp_path / "folder", tmp_path / "dest")
    assert names_in(tmp_path / "real") == ["Cells.parquet", "Cytoplasm.parquet", "Image.parquet", "Nuclei.parquet"]


def test_a_plate_with_only_nuclei_is_converted(make_plate, tmp_path):
    source = make_plate({"Nuclei": plate(JUMP)["Nuclei"]})
    assert [output.path.name for output in convert(source, tmp_path / "out").outputs] == ["Nuclei.parquet"]
    assert pq.read_metadata(convert(source, tmp_path / "out.parquet")).num_rows == 7


@pytest.mark.parametrize(
    "storage",
    [
        "tables",
        "views",
    ],
)
def test_text_that_is_no_utf8_becomes_null_and_is_counted(make_plate, tmp_path, storage):
    source = make_plate(as_views=storage == "views")
    stored = "Image stored" if storage == "views" else "Image"
    with sqlite3.connect(source) as link:
        link.execute(f"UPDATE \"{stored}\" SET FileName_OrigDNA = CAST(x'e92e746966' AS TEXT) WHERE ImageNumber = 1")
    link.close()
    result = convert(source, tmp_path / "out", targets=["image"])
    assert pq.read_table(result)["Image_FileName_OrigDNA"].to_pylist() == [None, "1002-2.tiff"]
    assert [(c.column, c.count) for c in result.outputs[0].coercions] == [("Image_FileName_OrigDNA", 1)]


def test_two_columns_that_would_get_one_name_are_refused_naming_both(make_plate, tmp_path):
    tables = plate(JUMP)
    tables["Cells"].add_column("AreaShape_Area", "FLOAT", range(5))
    with pytest.raises(SchemaError, match=r"Cells.*Cells_AreaShape_Area.*AreaShape_Area"):
        convert(make_plate(tables), tmp_path / "out")


def test_an_image_table_that_repeats_the_objects_names_does_not_hide_them(converted):
    tables = plate(JUMP)
    tables["Image"].add_column("ObjectNumber", "BIGINT", [7, 8])
    (joined,) = converted(tables, join=True, image_features=True).values()
    assert joined["Metadata_ObjectNumber"].to_pylist() == [1, 2, 3, 1, 2]


def test_tables_of_another_kind_are_left_alone(make_plate, tmp_path):
    tables = {**plate(EXPORT), "Experiment": Table({"name": "TEXT"}, [{"name": "x"}]), "it's odd": Table({"a": ""})}
    result = convert(make_plate(tables), tmp_path / "out")
    assert len(result.outputs) == 4
