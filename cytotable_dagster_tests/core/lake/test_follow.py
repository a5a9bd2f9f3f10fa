"""Plates of a lake in a dataset when their originals are gone: what is recorded suffices, and one plate stops no other."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster.core.execution.runner import runner, thread_config
from cytotable_dagster.core.lake import chunks as lake
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.lake.follow import Update, update_table
from cytotable_dagster.core.lake.results import whole_compartment
from cytotable_dagster.core.model.types import Plate
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.sources.identity import content_crc32
from cytotable_dagster.core.storage.destination import LocalDestination
from cytotable_dagster_tests.core.plates import EXPORT, JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.core.sources.csv.test_csv import write


class Lake:
    """Plates converted into a folder, and a dataset of their cells."""

    def __init__(self, root: Path) -> None:
        self.root, self.folders = root, dict[str, PlateFolder]()

    def convert(self, name: str, source: Path) -> None:
        folder = self.folders[name] = PlateFolder(self.root / "lake" / name)
        with folder.locked():
            plan = lake.prepare(Plate(name, str(source)), folder, None, Options(chunks=2), {})
            with runner(thread_config(1), self.root / "run") as run:
                for outcome in lake.make_chunks(
                    plan, folder, {"Cells": lake.missing_chunks(plan, folder, "Cells")}, run
                ):
                    assert not isinstance(outcome.result, Exception), outcome
            whole_compartment(plan, folder, "Cells")

    def update(self, number_of: Callable[[str, Plan], int] | None = None) -> Update:
        def ask(name: str, plan: Plan) -> int:
            return lake.table_number(plan, self.folders[name], {})

        return update_table(LocalDestination(self.root / "set"), "Cells", self.folders, number_of or ask)

    def inside(self) -> dict[str, set[int]]:
        """The TableNumbers of each plate in the dataset."""
        files = (self.root / "set" / "Cells").glob("*.parquet")
        rows = {file.stem: pq.ParquetFile(file).read(["Metadata_TableNumber"]) for file in files}
        return {name: set(table["Metadata_TableNumber"].to_pylist()) for name, table in rows.items()}


@pytest.fixture
def made(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


@pytest.fixture
def earlier(made: Lake, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], None]:
    """Converts as versions did that recorded no TableNumber."""
    plan = lake.make_plan

    def convert(name: str, source: Path) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(lake, "make_plan", lambda *arguments: plan(*arguments[:4]))
            made.convert(name, source)

    return convert


def asked(name: str, plan: Plan) -> int:
    raise AssertionError(f"plate {name}'s source is asked for")


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
    assert made.update(asked).left_out == ()
    assert made.inside() == {"A": {number}}


def test_a_plate_of_an_earlier_version_needs_its_original_once(made: Lake, earlier, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    files = {name: write_sqlite(tmp_path / f"{name}.sqlite", plate(JUMP, sites(2, n))) for n, name in enumerate("ABC")}
    numbers = {name: {content_crc32(file)} for name, file in files.items()}
    earlier("A", files["A"])
    earlier("B", files["B"])
    made.convert("C", files["C"])
    away = files["A"].rename(tmp_path / "away")
    ((name, reason),) = made.update().left_out
    assert (name, str(files["A"]) in reason, "\n" in reason) == ("A", True, False)
    assert made.inside() == {"B": numbers["B"], "C": numbers["C"]}
    away.rename(files["A"])
    assert made.update().added == ("A",)
    assert made.inside() == numbers
    for file in files.values():
        file.unlink()
    for member in (tmp_path / "set").rglob("*.parquet"):
        member.unlink()
    assert made.update().left_out == ()
    assert made.inside() == numbers


def test_a_plan_of_an_earlier_version_is_completed_when_its_plate_is_looked_at(
    made: Lake, earlier, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    file = write_sqlite(tmp_path / "A.sqlite", plate(JUMP, sites(2)))
    number = content_crc32(file)
    earlier("A", file)
    before = made.folders["A"].result("Cells").stat().st_mtime_ns
    made.convert("A", file)
    assert made.folders["A"].result("Cells").stat().st_mtime_ns == before
    (made.folders["A"].path / ".table_number.json").unlink(missing_ok=True)
    file.unlink()
    assert made.update().left_out == ()
    assert made.inside() == {"A": {number}}


def test_a_result_that_is_damaged_is_left_out_and_what_was_there_stays(made: Lake, tmp_path: Path) -> None:
    for name, cells in (("A", 1), ("B", 2)):
        made.convert(name, write_sqlite(tmp_path / f"{name}.sqlite", plate(JUMP, sites(cells))))
    assert made.update().added == ("A", "B")
    before = made.inside()
    made.folders["A"].result("Cells").write_bytes(b"PAR1 half")
    ((name, reason),) = made.update().left_out
    assert (name, "convert the plate again" in reason) == ("A", True)
    assert made.inside() == before
