"""Warehouses that are damaged, held, full or half-written: one line, and the next run goes on; readers see old or new."""

import json
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from cytotable_dagster import convert, describe_iceberg_warehouse, list_tables, read_table, warehouse
from cytotable_dagster.core import errors
from cytotable_dagster.core.sinks.iceberg import catalog
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.core.sinks.iceberg_readers import TABLE, opened

CELLS = {"A": (3, 2), "B": (4,), "C": (1, 1)}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("plates")
    return {name: write_sqlite(folder / f"{name}.sqlite", plate(JUMP, sites(*own))) for name, own in CELLS.items()}


@pytest.fixture(scope="module")
def made(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A warehouse of the plate A, and a copy of it."""
    root = tmp_path_factory.mktemp("made") / "warehouse"
    convert(sources["A"], root, dest_backend="iceberg")
    return root, Path(shutil.copytree(root, root.with_name("copy")))


@pytest.fixture
def root(made: tuple[Path, Path]) -> Path:
    """That warehouse, as it was; it is where its metadata say."""
    where, copy = made
    shutil.rmtree(where)
    return Path(shutil.copytree(copy, where))


def _refused(call: Callable[[], object], kind: type[errors.CytoTableError], told: str) -> None:
    with pytest.raises(kind, match=told) as caught:
        call()
    assert "\n" not in str(caught.value)


def _file(root: Path, name: str) -> Path:
    """A file of the newest state, by its kind."""
    closing_catalog, table = opened(root)
    with closing_catalog:
        snapshot = table.current_snapshot()
        files = {
            "metadata": table.metadata_location,
            "list of manifests": snapshot.manifest_list,
            "manifest": snapshot.manifests(table.io)[0].manifest_path,
            "data": table.inspect.files()["file_path"][0].as_py(),
        }
    return root / name if name not in files else Path(files[name].removeprefix("file://"))


@pytest.mark.parametrize("how", ["missing", "empty", "cut", "other"])
@pytest.mark.parametrize("name", ["metadata", "list of manifests", "manifest", "data", "catalog.db", "catalog.json"])
def test_a_damaged_file_is_one_line(root, sources, name, how):
    path = _file(root, name)
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "other": content[::-1]}[how])
    if how == "missing" and name.startswith("catalog"):
        # Either is made of the other.
        assert len(read_table(root)) == 5
    else:
        _refused(lambda: read_table(root), errors.SourceFormatError, "damaged")
    if name != "data" and not (how == "missing" and name.startswith("catalog")):
        before = {file: file.stat().st_mtime_ns for file in root.rglob("*.parquet")}
        _refused(lambda: convert(sources["B"], root, dest_backend="iceberg"), errors.SourceFormatError, "damaged")
        assert {file: file.stat().st_mtime_ns for file in root.rglob("*.parquet")} == before
    # What the line says is to be done.
    if name.startswith("catalog"):
        path.unlink(missing_ok=True)
    elif how == "missing" or name != "data":
        path.write_bytes(content)
    convert(sources["B"], root, dest_backend="iceberg", overwrite=True)
    assert warehouse.plates(root) == ["A", "B"]


def test_a_catalog_of_another_warehouse_is_not_written_to(root, sources, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copyfile(root / "catalog.db", other / "catalog.db")
    for call in (
        lambda: convert(sources["B"], other, dest_backend="iceberg"),
        lambda: warehouse.remove_plate(other, "A"),
    ):
        _refused(call, errors.SourceFormatError, "is the catalog of another warehouse")
    assert warehouse.plates(root) == ["A"]
    # By another way to the same folder it is the same warehouse.
    (tmp_path / "link").symlink_to(root)
    convert(sources["B"], tmp_path / "link", dest_backend="iceberg")
    assert warehouse.plates(root) == ["A", "B"]


def test_a_catalog_that_another_program_holds_or_changes_is_one_line(root, sources, monkeypatch):
    monkeypatch.setattr(catalog, "WAITED", 0.05)
    with closing(sqlite3.connect(root / "catalog.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for call in (
            lambda: read_table(root),
            lambda: describe_iceberg_warehouse(root),
            lambda: convert(sources["B"], root, dest_backend="iceberg"),
            lambda: warehouse.remove_plate(root, "A"),
        ):
            _refused(call, errors.DestinationInUseError, r"catalog\.db: another program holds it .*locked")
        other.execute("COMMIT")

    def change() -> None:
        with catalog.changed_together(root), catalog.open_catalog(root) as other:
            other.create_namespace("elsewhere")
            with catalog.load_table(other, TABLE, root).transaction() as own:
                own.set_properties(owner="somebody")

    _refused(change, errors.DestinationInUseError, "another program changed its tables meanwhile")
    convert(sources["B"], root, dest_backend="iceberg")
    assert warehouse.plates(root) == ["A", "B"]


@contextmanager
def _files_up_to(size: int) -> Iterator[None]:
    """A disk that takes no file of more bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [3000, 9000, 18000])
@pytest.mark.parametrize("new", [False, True])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(root, sources, tmp_path, size, new):
    where = tmp_path / "new" if new else root
    with _files_up_to(size), pytest.raises((errors.DiskFullError, errors.FileAccessError), match="make room") as caught:
        convert(sources["B"], where, dest_backend="iceberg")
    assert "\n" not in str(caught.value)
    assert where.exists() != new
    if not new:
        assert warehouse.plates(root) == ["A"]
        assert len(list(root.rglob("*.parquet"))) == 1
    convert(sources["B"], where, dest_backend="iceberg")
    assert warehouse.plates(where) == ["B"] if new else ["A", "B"]


def test_what_lies_there_in_another_format_stays(root, sources, tmp_path):
    convert(sources["A"], tmp_path / "parquet")
    (tmp_path / "file").write_text("mine")
    for name in ("parquet", "file"):
        for overwrite in (False, True):
            _refused(
                lambda name=name, overwrite=overwrite: convert(
                    sources["B"], tmp_path / name, dest_backend="iceberg", overwrite=overwrite
                ),
                errors.DestinationExistsError,
                "exists and is no warehouse",
            )
    assert (tmp_path / "file").read_text() == "mine"
    assert len(list((tmp_path / "parquet").iterdir())) == 4


# Each run is killed at one step: its process is a fork of one that has everything imported.
_KILLED = """
import os, sys
import pyiceberg.catalog.sql as sql
import cytotable_dagster.core.sinks.iceberg.catalog as catalog
import cytotable_dagster.core.sinks.iceberg.sink as sink
import cytotable_dagster.core.sinks.iceberg.tables as tables
from cytotable_dagster import convert

def stop(*_, **__):
    os.kill(os.getpid(), 9)

STEPS = {
    "begin": (sink, "changed_together"), "data": (tables, "described"), "commit": (sql.SqlCatalog, "commit_table"),
    "catalog": (catalog, "closing"), "registry": (sink, "save_registry"),
}
source, *places = sys.argv[1:]
for place in places:
    child = os.fork()
    if not child:
        owner, name = STEPS[os.path.basename(place).partition("-")[0]]
        if name == "closing":
            whole, calls = catalog.closing, []
            stop_at = 3 if os.path.exists(os.path.join(place, "catalog.db")) else 1
            def stop_last(link):
                calls.append(link)
                return stop() if len(calls) == stop_at else whole(link)
            catalog.closing = stop_last
            if stop_at == 1:
                catalog.shutil.copyfile = stop
        else:
            setattr(owner, name, stop)
        convert(source, place, dest_backend="iceberg")
        os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
STEPS = ("begin-new", "data-new", "catalog-new", "data-old", "commit-old", "catalog-old", "registry-old")


def test_after_a_killed_run_readers_see_old_or_new_and_the_next_run_goes_on(sources, tmp_path):
    places = [tmp_path / step for step in STEPS]
    for place in places:
        if place.name.endswith("old"):
            convert(sources["A"], place, dest_backend="iceberg")
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(sources["B"]), *map(str, places)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["-9"] * len(places), done.stderr
    for place in places:
        step, there = place.name.split("-")
        old, new = (["A"] if there == "old" else []), (["A", "B"] if there == "old" else ["B"])
        assert (warehouse.plates(place) if list_tables(place) else []) == (new if step == "registry" else old)
        convert(sources["B"], place, dest_backend="iceberg", overwrite=step == "registry")
        assert warehouse.plates(place) == new
        closing_catalog, table = opened(place)
        with closing_catalog:
            known = table.inspect.all_files()["file_path"].to_pylist()
            assert catalog.read_registry(place).tables == {TABLE: table.metadata_location}
        assert len(list(place.rglob("*.parquet"))) == len(set(known))


_READER = """
import os, sys
from cytotable_dagster import read_table
seen = set()
print("ready", flush=True)
while not os.path.exists(sys.argv[2]):
    found = read_table(sys.argv[1])
    seen.add(len(found))
print(sorted(seen))
"""


def test_another_process_reads_whole_plates_while_plates_come_change_and_go(root, sources, tmp_path):
    stop = tmp_path / "stop"
    arguments = [sys.executable, "-c", _READER, str(root), str(stop)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reader:
        assert reader.stdout.readline() == "ready\n", reader.stderr.read()
        convert(sources["B"], root, dest_backend="iceberg")
        convert([sources["B"], sources["C"]], root, dest_backend="iceberg", overwrite=True)
        warehouse.remove_plate(root, "C")
        warehouse.remove_plate(root, "B")
        stop.touch()
        seen, faults = reader.communicate()
    assert reader.returncode == 0, faults
    assert set(json.loads(seen)) <= {5, 9, 11}
