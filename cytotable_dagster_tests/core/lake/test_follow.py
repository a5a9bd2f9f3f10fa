"""Plates of a lake in a dataset: their files as they are, when their originals are gone, and one plate stops no other."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import datasets
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.lake.follow import Update, update_table
from cytotable_dagster.core.parquet.writing import PREFIX
from cytotable_dagster.core.sources.identity import content_crc32
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.local_destination import LocalDestination
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster.core.support.telling import watched
from cytotable_dagster_tests.core.lake.plates import LakePlate
from cytotable_dagster_tests.core.plates import EXPORT, JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.core.sources.csv.test_csv import write
from cytotable_dagster_tests.digests import digest
from cytotable_dagster_tests.stores.between import Between
from cytotable_dagster_tests.stores.servers import PROVIDERS


class Lake:
    """Plates converted into a folder or a store, and a dataset of their cells."""

    def __init__(self, root: Path, store: Destination | None = None, dest: Destination | None = None) -> None:
        self.root, self.store, self.folders = root, store, dict[str, PlateFolder]()
        self.dest = dest or LocalDestination(root / "set")

    def convert(self, name: str, source: Path) -> None:
        plate = LakePlate(self.root, name, source, self.store)
        plate.convert("Cells")
        self.folders[name] = plate.folder

    def update(self) -> Update:
        return update_table(self.dest, "Cells", self.folders)

    def inside(self) -> dict[str, set[int]]:
        """The TableNumbers of each plate in the dataset."""
        files = (self.root / "set" / "Cells").glob("*.parquet")
        rows = {file.stem: pq.ParquetFile(file).read(["Metadata_TableNumber"]) for file in files}
        return {name: set(table["Metadata_TableNumber"].to_pylist()) for name, table in rows.items()}


@pytest.fixture
def made(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def test_plates_that_are_put_in_are_counted(made: Lake, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    for name in "AB":
        made.convert(name, write_sqlite(tmp_path / f"{name}.sqlite", plate(EXPORT, sites(3))))
    for _ in range(2):
        with watched(lambda *step: told.append(step)):
            made.update()
    step = "Cells: plates put into the dataset"
    assert told == [(step, 1, 2), (step, 2, 2)]


@pytest.mark.parametrize("kind", ["sqlite", "csv"])
def test_a_dataset_needs_nothing_but_the_results(made: Lake, tmp_path: Path, kind: str) -> None:
    if kind == "sqlite":
        source = write_sqlite(tmp_path / "A.sqlite", plate(EXPORT, sites(3)))
    else:
        source = tmp_path / "A"
        source.mkdir()
        write(source / "Image.csv", ["ImageNumber,Metadata_Well", "1,A01"])
        write(source / "Cells.csv", ["ImageNumber,ObjectNumber,X", "1,1,0.5"])
    number = content_crc32(source)
    made.convert("A", source)
    source.rename(tmp_path / "away")
    for file in made.folders["A"].plan.iterdir():
        file.unlink()
    assert made.update().left_out == ()
    assert made.inside() == {"A": {number}}


def test_a_file_of_a_dataset_is_the_lakes_own_and_the_same_as_without_a_lake(made: Lake, tmp_path: Path) -> None:
    for name, dialect in (("A", JUMP), ("B", JUMP)):
        made.convert(name, write_sqlite(tmp_path / f"{name}.sqlite", plate(dialect, sites(len(name), 2))))
    made.update()
    datasets.add([tmp_path / "A.sqlite", tmp_path / "B.sqlite"], tmp_path / "own")
    for name, folder in made.folders.items():
        ours = tmp_path / "set" / "Cells" / f"{name}.parquet"
        assert ours.samefile(folder.result("Cells"))
        assert pq.ParquetFile(tmp_path / "own" / "Cells" / f"{name}.parquet").read() == pq.ParquetFile(ours).read()
    assert {"Metadata_Plate", "Metadata_TableNumber", "Metadata_Image_TableNumber"} <= set(pq.read_schema(ours).names)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_store_copies_a_lakes_file_into_its_dataset(
    tmp_path: Path, in_store: Destination, store_options: dict[str, str], passing: Between, provider: str
) -> None:
    inside = destination_of(in_store.address("lake"), Store.checked(store_options))
    made = Lake(tmp_path, inside, destination_of(in_store.address("set"), Store.checked(store_options)))
    made.convert("A", write_sqlite(tmp_path / "A.sqlite", plate(JUMP, sites(3))))
    passing.clear()
    assert made.update().added == ("A",)
    sent = [path for name, path in passing.keys if name == "PutObject" and path.endswith(".parquet")]
    # What is copied is put with no content in S3 and Azure, and asked for by a request of its own in Google's store.
    assert len(sent) == (provider != "gs") and passing.seen["UploadPart"] == 0
    assert digest(in_store.path("set/Cells/A.parquet")) == digest(in_store.path("lake/A/Cells.parquet"))


def test_only_a_column_that_differs_has_a_file_written_anew(made: Lake, tmp_path: Path) -> None:
    other = plate(JUMP, sites(2))
    other["Cells"].columns["Cells_AreaShape_More"] = "REAL"
    made.convert("A", write_sqlite(tmp_path / "A.sqlite", plate(JUMP, sites(3))))
    made.convert("B", write_sqlite(tmp_path / "B.sqlite", other))
    made.update()
    same = {
        name: (tmp_path / "set" / "Cells" / f"{name}.parquet").samefile(folder.result("Cells"))
        for name, folder in made.folders.items()
    }
    assert same == {"A": False, "B": True}


@pytest.mark.parametrize("first", ["A", "B"])
def test_whole_numbers_that_another_plates_decimals_round_are_told(made: Lake, tmp_path: Path, first: str) -> None:
    for name, kind, values in (("A", "INTEGER", [1, 2**53 + 1, None]), ("B", "REAL", [0.5, 1.5, 2.5])):
        tables = plate(JUMP, sites(3))
        tables["Cells"].add_column("Cells_AreaShape_More", kind, values)
        made.convert(name, write_sqlite(tmp_path / f"{name}.sqlite", tables))
    both, made.folders = made.folders, {first: made.folders[first]}
    assert made.update().drift.problems == ()
    made.folders = both
    assert made.update().drift.problems == (
        "Cells: plate A: 1 whole number of Cells_AreaShape_More has too many digits for the type that other plates need "
        f"and was rounded, such as {2**53 + 1}",
    )
    assert made.update().drift.problems == ()


def test_a_plate_that_goes_has_no_say_in_the_types_of_one_that_comes(made: Lake, tmp_path: Path) -> None:
    for name, kind, value in (("A", "TEXT", "round"), ("B", "REAL", 0.5)):
        tables = plate(JUMP, sites(3))
        tables["Cells"].add_column("Cells_AreaShape_Form", kind, [value] * 3)
        made.convert(name, write_sqlite(tmp_path / f"{name}.sqlite", tables))
    both, made.folders = made.folders, {"A": made.folders["A"]}
    made.update()
    made.folders = {"B": both["B"]}
    assert (made.update().added, made.inside().keys()) == (("B",), {"B"})
    found = pq.ParquetFile(tmp_path / "set" / "Cells" / "B.parquet").read(["Cells_AreaShape_Form"])
    assert found["Cells_AreaShape_Form"].to_pylist() == [0.5] * 3


def test_a_dataset_laid_out_as_it_once_was_is_made_flat_though_no_plate_differs(made: Lake, tmp_path: Path) -> None:
    made.convert("A", write_sqlite(tmp_path / "A.sqlite", plate(JUMP, sites(3))))
    made.update()
    flat, old = (tmp_path / "set" / "Cells" / name for name in ("A.parquet", "plate=A/part-0.parquet"))
    content = digest(flat)
    old.parent.mkdir()
    flat.rename(old)
    made.update()
    assert digest(flat) == content and not old.parent.exists()


def test_a_file_whose_rows_do_not_tell_the_plate_is_given_what_its_footer_tells(made: Lake, tmp_path: Path) -> None:
    source = write_sqlite(tmp_path / "A.sqlite", plate(JUMP, sites(3)))
    made.convert("A", source)
    path = made.folders["A"].result("Cells")
    wanted = pq.ParquetFile(path).read()
    (name,) = set(wanted["Metadata_Plate"].to_pylist())
    _as_earlier(path, names_plate="yes", named_plate=json.dumps(name))
    assert made.update().left_out == ()
    found = pq.ParquetFile(tmp_path / "set" / "Cells" / "A.parquet").read()
    assert found.select(wanted.column_names).equals(wanted)


def test_a_file_that_tells_no_table_number_is_left_out(made: Lake, tmp_path: Path) -> None:
    for name, cells in (("A", 1), ("B", 2)):
        made.convert(name, write_sqlite(tmp_path / f"{name}.sqlite", plate(JUMP, sites(cells))))
    _as_earlier(made.folders["A"].result("Cells"), table_number=None)
    ((name, reason),) = made.update().left_out
    assert (name, "convert the plate again" in reason, "\n" in reason) == ("A", True, False)
    assert made.inside().keys() == {"B"}


def _as_earlier(path: Path, **facts: str | None) -> None:
    """A result as versions wrote it whose rows did not tell the plate."""
    table = pq.ParquetFile(path).read()
    names = [name for name in table.column_names if name not in ("Metadata_Plate", "Metadata_TableNumber")]
    renamed = ["Metadata_TableNumber" if name == "Metadata_Image_TableNumber" else name for name in names]
    entries = {name.decode(): value.decode() for name, value in pq.read_metadata(path).metadata.items()}
    told = entries | {f"{PREFIX}{name}": value for name, value in facts.items() if value is not None}
    kept = {name: value for name, value in told.items() if facts.get(name.removeprefix(PREFIX), "") is not None}
    with pq.ParquetWriter(path, (earlier := table.select(names).rename_columns(renamed)).schema) as writer:
        writer.write_table(earlier)
        writer.add_key_value_metadata(kept)


def test_a_result_that_is_damaged_is_left_out_and_what_was_there_stays(made: Lake, tmp_path: Path) -> None:
    for name, cells in (("A", 1), ("B", 2)):
        made.convert(name, write_sqlite(tmp_path / f"{name}.sqlite", plate(JUMP, sites(cells))))
    assert made.update().added == ("A", "B")
    before = made.inside()
    half = tmp_path / "half"
    half.write_bytes(b"PAR1 half")
    half.replace(made.folders["A"].result("Cells"))
    ((name, reason),) = made.update().left_out
    assert (name, "convert the plate again" in reason) == ("A", True)
    assert made.inside() == before
