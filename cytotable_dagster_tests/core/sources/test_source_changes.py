"""A local source that is written to while it is converted: an error of one line, and nothing of it is published."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets
from cytotable_dagster.core.conversion import ready, several
from cytotable_dagster.core.errors import (
    CytoTableError,
    PlanError,
    SourceChangedError,
    SourceFormatError,
    SourceNotFoundError,
)
from cytotable_dagster.core.execution.runner import runner, thread_config
from cytotable_dagster.core.inspection import inspect_plate
from cytotable_dagster.core.intake.cache import fetch
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.lake import making as lake
from cytotable_dagster.core.lake import plans
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.model.types import Plate, Source
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.reports.records import ConversionReport
from cytotable_dagster.core.sources.state import check_unchanged
from cytotable_dagster_tests.core.conftest import Results, names_in
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.core.sources.csv.test_csv import site as csv_site
from cytotable_dagster_tests.core.sources.csv.test_in_carta import write as write_flat
from cytotable_dagster_tests.core.sources.npz.test_npz import site as npz_site
from cytotable_dagster_tests.digests import digest

Change = Callable[[Path], None]


class Once:
    """A change of a source when the first chunk is done."""

    def __init__(self, change: Callable[[], None]) -> None:
        self.change, self.done = change, False

    def __call__(self, *_: object) -> None:
        if not self.done:
            self.done = True
            self.change()


def sqlite_plate(folder: Path) -> Path:
    return write_sqlite(folder / "P1.sqlite", plate(JUMP, sites(5, 5, 5)))


def csv_plate(folder: Path) -> Path:
    for image in range(1, 4):
        csv_site(folder / "P1" / f"site{image}", image, objects=5)
    return folder / "P1"


def flat_plate(folder: Path) -> Path:
    return write_flat(folder / "P1.csv", *(f'{number},"C",3,{number},"C - 3",1,1,5.5' for number in range(1, 9)))


def npz_plate(folder: Path) -> Path:
    for number in range(1, 4):
        npz_site(folder / "P1" / f"A01-{number}.npz", cells=5, seed=number)
    return folder / "P1"


def update(source: Path) -> None:
    with closing(sqlite3.connect(source)) as link, link:
        link.execute("UPDATE Nuclei SET Nuclei_Intensity_Mean = 7")


def update_at_the_same_time(source: Path) -> None:
    """As a file system tells it whose clock is coarse: only SQLite's own counter shows the transaction."""
    before = source.stat()
    update(source)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))


def update_in_a_log(source: Path) -> None:
    """By a process that is killed before it puts the log into the file."""
    log = source.with_name(f"{source.name}-wal")
    with closing(sqlite3.connect(source, isolation_level=None)) as link:
        link.execute("PRAGMA journal_mode=WAL")
        before = source.read_bytes()
        link.execute("UPDATE Nuclei SET Nuclei_Intensity_Mean = 7")
        frames = log.read_bytes()
    source.write_bytes(before)
    log.write_bytes(frames)


def any_file(source: Path) -> Path:
    return source if source.is_file() else sorted(file for file in source.rglob("*") if file.is_file())[-1]


def append(source: Path) -> None:
    with any_file(source).open("ab") as file:
        file.write(b"\n")


def replace_by_an_equal_one(source: Path) -> None:
    """Another file of the same size and time."""
    file = any_file(source)
    other = file.with_name(f".{file.name}.new")
    shutil.copy2(file, other)
    other.replace(file)


def come(source: Path) -> None:
    file = any_file(source)
    shutil.copyfile(file, file.with_name(f"another_{file.name}"))


def go(source: Path) -> None:
    any_file(source).unlink()


CHANGES = [
    *((sqlite_plate, change) for change in (update, update_at_the_same_time, update_in_a_log, replace_by_an_equal_one)),
    *((csv_plate, change) for change in (append, replace_by_an_equal_one, come, go)),
    *((flat_plate, change) for change in (append, go)),
    *((npz_plate, change) for change in (append, come, go)),
]


@pytest.mark.parametrize(
    ("make", "change"), CHANGES, ids=[f"{make.__name__}-{change.__name__}" for make, change in CHANGES]
)
def test_a_source_that_changes_is_an_error_and_nothing_is_published(
    tmp_path: Path, make: Callable[[Path], Path], change: Change
):
    (tmp_path / "source").mkdir()
    source = make(tmp_path / "source")
    once = Once(lambda: change(source))
    with pytest.raises(SourceChangedError, match="P1") as caught:
        convert(source, tmp_path / "out", chunk_size=2, progress=once)
    assert "\n" not in str(caught.value)
    assert once.done
    assert names_in(tmp_path / "out") == []


WAYS: dict[str, dict[str, Any]] = {
    "joined": {"join": True},
    "tables": {},
    "chunks": {"concat": False},
    "query": {"joins": "SELECT * FROM 'cells.parquet'"},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_converting_looks_at_the_source_before_it_publishes(tmp_path: Path, results: Results, way: str):
    source = sqlite_plate(tmp_path)
    once = Once(lambda: update(source))
    with pytest.raises(SourceChangedError):
        convert(source, results.at(), chunk_size=5, progress=once, **WAYS[way], **results.options)
    assert once.done
    assert results.names() == []


def test_what_is_there_stays_when_the_source_changes_while_it_is_overwritten(tmp_path: Path):
    source = sqlite_plate(tmp_path)
    (cells,) = convert(source, tmp_path / "out", targets=["cells"]).outputs
    before = digest(cells.path)
    with pytest.raises(SourceChangedError):
        convert(source, tmp_path / "out", chunk_size=5, overwrite=True, progress=Once(lambda: update(source)))
    assert names_in(tmp_path / "out") == ["Cells.parquet"]
    assert digest(cells.path) == before


@pytest.mark.parametrize("moment", ["looked through", "converted", "between"])
@pytest.mark.parametrize("grows", [False, True], ids=["files", "dataset"])
def test_of_several_plates_none_is_published_that_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grows: bool, moment: str
):
    sources = [write_sqlite(tmp_path / f"P{n}.sqlite", plate(JUMP, sites(n, 5))) for n in (1, 2)]
    change = Once(lambda: update(sources[1]))
    made, report = ready.make_plan, several.planned_report

    def changed_before(source: Source, *args: Any, **more: Any) -> Plan:
        if source.plate == "P2":
            change()
        return made(source, *args, **more)

    def changing(plan: Plan) -> ConversionReport:
        if plan.source.plate == "P2":
            change()
        return report(plan)

    def progress(step: str, done: int, total: int) -> None:
        if (step, done) == ("plates looked through", 2):
            change()

    if moment == "looked through":
        monkeypatch.setattr(ready, "make_plan", changed_before)
    elif moment == "converted":
        monkeypatch.setattr(several, "planned_report", changing)
    options: dict[str, Any] = {"progress": progress} if moment == "between" else {}
    with pytest.raises(SourceChangedError, match=r"P2\.sqlite"):
        if grows:
            datasets.add(sources, tmp_path / "out", **options)
        else:
            convert(sources, tmp_path / "out", **options)
    there = names_in(tmp_path / "out")
    assert not any("P2" in name for name in there)
    assert grows or there == []


def test_inspecting_a_plate_that_changes_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from cytotable_dagster.core import inspection

    source, made = sqlite_plate(tmp_path), inspection.make_plan
    monkeypatch.setattr(inspection, "make_plan", lambda *args: (made(*args), update(source))[0])
    with pytest.raises(SourceChangedError):
        inspect_plate(source)


class Prepared:
    """A plate of a lake that was looked through."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.source, self.folder = source, PlateFolder(folder / "lake" / "P1")
        self.plan = plans.prepare(Plate("P1", str(source)), self.folder, None, Options(chunks=3), Cache())

    def chunks(self, before: Callable[[], None] = lambda: None) -> list[lake.ChunkOutcome]:
        scratch = self.folder.path / "run"
        with plans.with_source(self.plan, self.folder, Cache()) as plan, runner(thread_config(1), scratch) as run:
            before()
            return list(lake.make_chunks(plan, self.folder, {"Cells": (0, 1, 2)}, run))


@pytest.mark.parametrize(("make", "change"), [(sqlite_plate, update), (sqlite_plate, update_at_the_same_time),
                                              (csv_plate, append), (csv_plate, come)])  # fmt: skip
def test_no_chunk_of_a_lake_appears_that_was_read_from_a_source_that_changed(
    tmp_path: Path, make: Callable[[Path], Path], change: Change
):
    made = Prepared(tmp_path, make(tmp_path / "source"))
    found = made.chunks(lambda: change(made.source))
    assert [type(outcome.result) for outcome in found] == [SourceChangedError] * 3
    assert names_in(made.folder.path / "chunks") in ([], ["Cells"])
    assert not made.folder.copies.exists()
    with pytest.raises(PlanError, match="has changed since plate P1 was looked through"):
        made.chunks()


def test_no_plan_of_a_lake_is_kept_that_was_made_of_a_source_that_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source, keep = sqlite_plate(tmp_path), plans.keep_report
    monkeypatch.setattr(plans, "keep_report", lambda *args: (keep(*args), update(source)))
    with pytest.raises(SourceChangedError):
        Prepared(tmp_path, source)
    assert not PlateFolder(tmp_path / "lake" / "P1").plan.exists()


def test_a_source_of_a_lake_that_was_only_touched_is_the_same(tmp_path: Path):
    made = Prepared(tmp_path, sqlite_plate(tmp_path))
    made.source.touch()
    assert sum(outcome.result.rows for outcome in made.chunks()) == 15  # type: ignore[union-attr]
    assert plans.prepare(Plate("P1", str(made.source)), made.folder, None, Options(chunks=3), Cache()) == made.plan


def test_a_source_at_rest_is_unchanged(tmp_path: Path):
    for make in (sqlite_plate, csv_plate, flat_plate, npz_plate):
        source = fetch(Plate("P1", str(make(tmp_path / make.__name__))), Cache())
        check_unchanged(source)
        convert(source.path, tmp_path / "out" / make.__name__)
        check_unchanged(source)


@pytest.mark.parametrize("name", ["P1.sqlite", "P1.csv", "P1.npz", "P1/site1/Cells.csv", "P2/a.npz"])
def test_a_pipe_is_refused_at_once(tmp_path: Path, name: str):
    pipe = tmp_path / name
    pipe.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(pipe)
    if pipe.parent.name == "site1":
        csv_site(tmp_path / "P1" / "site2")
    elif pipe.parent.name == "P2":
        npz_site(tmp_path / "P2" / "b.npz")
    for source in {pipe if pipe.parent == tmp_path else tmp_path / Path(name).parts[0]}:
        for refused in (
            lambda source=source: convert(source, tmp_path / "out"),
            lambda source=source: inspect_plate(source),
            lambda source=source: datasets.add([source], tmp_path / "out"),
            lambda source=source: Prepared(tmp_path, source),
        ):
            with pytest.raises(SourceFormatError, match="a named pipe, where a file is expected") as caught:
                refused()
            assert str(pipe) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_pipe_beside_a_plate_is_no_log_of_it(tmp_path: Path):
    source = sqlite_plate(tmp_path)
    for ending in ("-wal", "-journal"):
        os.mkfifo(f"{source}{ending}")
    assert pq.read_metadata(convert(source, tmp_path / "out.parquet").path).num_rows == 15


def test_a_link_to_nothing_among_a_plates_files_is_told(tmp_path: Path):
    source = csv_plate(tmp_path)
    (source / "site1" / "Nuclei.csv").unlink()
    (source / "site1" / "Nuclei.csv").symlink_to("nowhere")
    with pytest.raises(SourceNotFoundError, match=r"Nuclei\.csv: not there, or a link to nothing"):
        convert(source, tmp_path / "out")


def test_a_plate_that_may_not_be_read_is_told_in_one_line(tmp_path: Path):
    source = sqlite_plate(tmp_path)
    source.chmod(0)
    if os.access(source, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(CytoTableError, match="may not be read"):
        convert(source, tmp_path / "out")
