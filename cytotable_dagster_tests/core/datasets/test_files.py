"""The files of a dataset: any plate's name, any reader, nothing else beside them, and the layout of earlier versions."""

import itertools
import shutil
from pathlib import Path
from unicodedata import normalize
from urllib.parse import quote

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets
from cytotable_dagster.core.datasets.files import file_name, plate_in
from cytotable_dagster.core.errors import SchemaError, UnsafeNameError
from cytotable_dagster.core.model.plate_names import plate_of, safe_name
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.local_destination import LocalDestination
from cytotable_dagster.core.storage.store_destination import StoreDestination
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import EXPORT, JUMP, plate, sites, write_sqlite

KEPT = (
    "BR 0001",
    "BR+0002",
    "P(1)",
    "Zelle_ü",
    "BR00126114",
    "0012345",
    "a.b~c-d",
    "it's",
    "板1",
    "x=1",
    "$HOME",
    "&;",
)
ENCODED = {
    "p[1]": "p%5B1%5D",
    "A|B": "A%7CB",
    "100%": "100%25",
    "%41": "%2541",
    "a/b": "a%2Fb",
    ".hidden": "%2Ehidden",
    "..": "%2E.",
    "a...b": "a%2E%2E%2Eb",
    " x ": "%20x%20",
    "a\nb": "a%0Ab",
    "u\u0308": "u%CC%88",
    "/\u0307": "%2F%CC%87",
    "a\u200bb": "a%E2%80%8Bb",
    "\udcff": "%FF",
    "{plate},*?": "%7Bplate%7D%2C%2A%3F",
}
# Names that some file system takes for one.
TWINS = ("br1", "BR1", "Br1", "\u00fc", "u\u0308", "\u00dc", "U\u0308", "stra\u00dfe", "STRASSE", "_a", "_A")


@pytest.mark.parametrize("name", KEPT)
def test_names_that_files_and_partitions_can_have_stay(name):
    assert safe_name(name) == name == plate_of(name)


@pytest.mark.parametrize("name", ENCODED)
def test_what_they_cannot_have_is_encoded_and_found_again(name):
    assert safe_name(name) == ENCODED[name]
    for listed in (ENCODED[name], normalize("NFD", ENCODED[name])):  # as some file systems give it back
        assert plate_of(listed) == name


@pytest.mark.parametrize("name", ["", "x" * 221, "ü" * 111, "\ud800"])
def test_what_no_file_can_be_called_is_refused(name):
    with pytest.raises(UnsafeNameError, match="plate's name"):
        safe_name(name)


def test_names_that_differ_have_files_that_differ_on_every_file_system():
    files: list[str] = []
    for name in (*TWINS, *KEPT, *ENCODED):
        files.append(file_name("Cells", name, files))
        assert plate_in(files[-1]) == name
        assert not files[-1].split("/")[1].startswith((".", "_"))
    for form in ("NFC", "NFD"):
        assert len({normalize(form, name).casefold() for name in files}) == len(files)


def test_plates_whose_names_are_nearly_one_are_all_there(tmp_path):
    made = [
        write_sqlite(tmp_path / str(n) / f"{name}.sqlite", plate(JUMP, sites(1 + n, table=n)))
        for n, name in enumerate(TWINS)
    ]
    for _ in range(2):
        datasets.add(made, tmp_path / "set", targets=["Cells"])
        found = datasets.tables(tmp_path / "set")["Cells"].members
        assert {name: member.content.rows for name, member in found.items()} == {
            name: 1 + n for n, name in enumerate(TWINS)
        }
    assert len(pd.read_parquet(tmp_path / "set" / "Cells")) == sum(range(1, 1 + len(TWINS)))
    for name in TWINS:
        datasets.remove(tmp_path / "set", name)
    assert not (tmp_path / "set" / "Cells").exists()


def _barcodes(folder: Path) -> dict[str, int]:
    """Rows of plates by barcode, where each is what its plate's tables and its file say."""
    rows = {"0012345": 3, "12345": 4, "BR 2": 5, "p[1]": 6, "x=1": 7}
    for number, (name, cells) in enumerate(rows.items()):
        write_sqlite(folder / f"{name}.sqlite", plate(EXPORT, sites(cells, table=number)))
    return rows


def test_barcodes_are_text_that_every_reader_finds(tmp_path):
    rows = _barcodes(tmp_path / "in")
    datasets.add(tmp_path / "in", tmp_path / "set")
    cells = tmp_path / "set" / "Cells"
    for name, count in rows.items():
        found = {
            "duckdb": duckdb.execute(
                f"SELECT count(*) FROM read_parquet('{cells}/*.parquet') WHERE Metadata_Plate = ?", [name]
            ).fetchall()[0][0],
            "polars": pl.scan_parquet(cells).filter(pl.col("Metadata_Plate") == name).collect().height,
            "pyarrow": ds.dataset(cells).count_rows(filter=ds.field("Metadata_Plate") == name),
            "pandas": len(pd.read_parquet(cells, filters=[("Metadata_Plate", "=", name)])),
        }
        assert found == dict.fromkeys(found, count)
    assert sorted(pd.read_parquet(cells)["Metadata_Plate"].unique()) == sorted(rows)


def test_readers_can_tell_by_footers_which_files_hold_a_plate(tmp_path):
    rows = _barcodes(tmp_path / "in")
    for join in (False, True):
        datasets.add(tmp_path / "in", tmp_path / "set", join=join)
    for table, name in itertools.product(datasets.tables(tmp_path / "set"), rows):
        metadata = pq.read_metadata(tmp_path / "set" / file_name(table, name))
        place = metadata.schema.names.index("Metadata_Plate")
        for group in range(metadata.num_row_groups):
            statistics = metadata.row_group(group).column(place).statistics
            assert (statistics.min, statistics.max) == (name, name)


@pytest.fixture
def place(request, tmp_path) -> Destination:
    return LocalDestination(tmp_path / "set") if request.param == "folder" else request.getfixturevalue("in_store")


@pytest.fixture
def plates(tmp_path) -> Path:
    for number, name in enumerate(("A", "B_1", "C ü")):
        write_sqlite(tmp_path / "plates" / f"{name}.sqlite", plate(JUMP, sites(3, number, table=number)))
    return tmp_path / "plates"


def _make_old(place: Destination) -> None:
    """Move a dataset's files to where versions before this layout put them."""
    for stored in place.list():
        table, _ = stored.name.split("/")
        if not table.startswith("_"):
            place.move(stored.name, f"{table}/plate={quote(plate_in(stored.name), safe=' ~()+,@!')}/part-0.parquet")


def _content(place: Destination) -> dict[str, bytes]:
    found = {}
    for stored in place.list():
        with place.open(stored.name) as file:
            found[stored.name] = b"" if stored.name.startswith("_") else file.read()
    return found


@pytest.mark.parametrize(
    ("place", "change"),
    [("folder", "add"), ("folder", "align"), ("folder", "remove"), ("store", "remove")],
    indirect=["place"],
)
def test_the_layout_of_earlier_versions_is_read_and_given_up_by_what_changes_the_dataset(
    place, plates, tmp_path, change
):
    options = place.store.options if isinstance(place, StoreDestination) else {}
    datasets.add(plates, place.address(), dest_cloud=options, targets=["Cells", "Image"])
    wanted = _content(place)
    _make_old(place)
    # As it is where a move was broken off between copy and removal.
    with place.open("Cells/plate=A/part-0.parquet") as file, place.create("Cells/A.parquet") as out:
        out.write(file.read())
    found = datasets.tables(place.address(), **options)
    assert {name: set(table.members) for name, table in found.items()} == {name: {"A", "B_1", "C ü"} for name in found}
    if change == "add":
        write_sqlite(tmp_path / "D.sqlite", plate(JUMP, sites(1, table=9)))
        datasets.add(tmp_path / "D.sqlite", place.address(), dest_cloud=options, targets=["Cells", "Image"])
        datasets.remove(place.address(), "D", **options)
    elif change == "remove":
        datasets.remove(place.address(), "A", **options)
        datasets.add(plates / "A.sqlite", place.address(), dest_cloud=options, targets=["Cells", "Image"])
    else:
        datasets.align(place.address(), **options)
    assert _content(place) == wanted
    assert not isinstance(place, LocalDestination) or {len(Path(name).parts) for name in names_in(place.root)} == {1, 2}


def test_what_is_no_plates_file_is_not_taken_for_one(plates, tmp_path):
    datasets.add(plates, tmp_path / "set")
    shutil.copy(tmp_path / "set" / "Cells" / "A.parquet", tmp_path / "set" / "Cells" / "A copy.parquet")
    with pytest.raises(SchemaError, match=r"A copy.parquet: holds plate A, and not A copy"):
        datasets.tables(tmp_path / "set")
    convert(plates / "A.sqlite", tmp_path / "chunks", concat=False)
    before = names_in(tmp_path / "chunks")
    with pytest.raises(SchemaError, match=r"00000.parquet: holds plate A"):
        datasets.add(plates / "A.sqlite", tmp_path / "chunks")
    assert names_in(tmp_path / "chunks") == before


def test_a_tables_folder_holds_nothing_else_while_a_plate_is_put_there(plates, tmp_path):
    datasets.add(plates, tmp_path / "set")
    place, files = LocalDestination(tmp_path / "set"), sorted((tmp_path / "set" / "Cells").iterdir())
    with place.create("Cells/D.parquet") as out:
        out.write(b"PAR1")
        assert sorted((tmp_path / "set" / "Cells").iterdir()) == files
        assert len(names_in(tmp_path / "set")) > len(names_in(tmp_path / "set" / "Cells"))
    assert (tmp_path / "set" / "Cells" / "D.parquet").read_bytes() == b"PAR1"
