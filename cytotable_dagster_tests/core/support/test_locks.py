"""One writer of a destination at a time, in a folder and in a store."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets
from cytotable_dagster.core.errors import CytoTableError, DestinationExistsError, DestinationInUseError, UploadError
from cytotable_dagster.core.parquet.writing import read_facts
from cytotable_dagster.core.storage import store_lock
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.local_destination import LocalDestination
from cytotable_dagster.core.storage.store_destination import StoreDestination
from cytotable_dagster.core.support import locks
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.stores.between import Answer

_WRITER = """
import json, sys
from pathlib import Path
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_destination import destination_of
with destination_of(sys.argv[1], Store.checked(json.loads(sys.argv[2]))).writing(sys.argv[3]):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["folder", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Destination:
    monkeypatch.setattr(locks, "WAIT", 0.3)
    monkeypatch.setattr(store_lock, "_POLL", 0.05)
    if request.param == "folder":
        (tmp_path / "out").mkdir()
        return LocalDestination(tmp_path / "out")
    return request.getfixturevalue("in_store")


@contextmanager
def other_process(place: Destination, name: str = "") -> Iterator["subprocess.Popen[bytes]"]:
    """One that writes there."""
    command = [
        sys.executable,
        "-c",
        _WRITER,
        place.address(),
        json.dumps(place.store.options if isinstance(place, StoreDestination) else {}),
        name,
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def leftovers(place: Destination) -> list[str]:
    if isinstance(place, LocalDestination):
        return names_in(place.root)
    return place.there(".cytotable")  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["", "cells.parquet"])
def test_a_second_writer_is_refused_until_the_first_has_ended_or_was_killed(place, name, monkeypatch):
    # A writer of a store is known to live by its signs of life.
    monkeypatch.setattr(store_lock, "_BEAT", 0.1)
    with place.writing(name):
        pass
    with other_process(place, name) as process:
        if isinstance(place, LocalDestination):
            with pytest.raises(DestinationInUseError, match=f"process {process.pid} on"), place.writing(name):
                pass
        with place.writing("another.parquet"):
            pass
        process.kill()
        process.wait()
        assert len(leftovers(place)) == 1
        with place.writing(name):
            pass
    assert leftovers(place) == []


def test_writers_in_a_crowd_write_one_after_the_other(place, monkeypatch):
    monkeypatch.setattr(locks, "WAIT", 60.0)
    inside, most, together = [], [], threading.Lock()

    def write(number: int) -> None:
        with place.writing():
            with together:
                inside.append(number)
                most.append(len(inside))
            time.sleep(0.01)
            with together:
                inside.remove(number)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(write, range(6 if not isinstance(place, LocalDestination) else 100)))
    assert set(most) == {1}
    assert leftovers(place) == []


def test_a_folder_that_was_made_for_two_and_removed_by_one_is_made_again(tmp_path, monkeypatch):
    place = LocalDestination(tmp_path / "a" / "out")
    opened = os.open
    removed = []

    def remove_first(path, *arguments, **options):
        if not removed and str(path).endswith(".cytotable.lock"):
            removed.append(place.root.rmdir())
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", remove_first)
    with place.writing(file_by_file=True):
        (place.root / "x").touch()
    assert removed
    assert names_in(place.root) == ["x"]


def test_a_folder_that_appears_while_its_place_is_claimed_is_claimed_too(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "WAIT", 0.1)
    place = LocalDestination(tmp_path / "out")
    with place.writing() as claim:
        assert names_in(tmp_path) == [".out.cytotable.lock"]
        with pytest.raises(DestinationInUseError), place.writing():
            pass
        place.root.mkdir()
        claim.check()
        with pytest.raises(DestinationInUseError), place.writing():
            pass
    assert names_in(tmp_path) == ["out"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store's writers wait, and look, in hundredths of seconds."""
    monkeypatch.setattr(locks, "WAIT", 0.3)
    monkeypatch.setattr(store_lock, "_POLL", 0.02)
    monkeypatch.setattr(store_lock, "_BEAT", 0.05)
    monkeypatch.setattr(store_lock, "_GONE", 5.0)


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on this is another machine."""
    monkeypatch.setattr(store_lock, "_space", lambda: "another machine")


def test_a_writer_on_another_machine_that_gives_signs_of_life_is_waited_for_in_vain(in_store, quick, monkeypatch):
    with in_store.writing() as claim:
        ours = store_lock._space
        elsewhere(monkeypatch)
        with pytest.raises(DestinationInUseError, match=rf"process {os.getpid()} on .*wait until"), in_store.writing():
            pass
        monkeypatch.setattr(store_lock, "_space", ours)
        claim.check()


def test_a_writer_on_another_machine_that_is_silent_is_gone_and_finds_that_out(in_store, quick, monkeypatch):
    monkeypatch.setattr(store_lock, "_BEAT", 3600.0)
    monkeypatch.setattr(store_lock, "_GONE", 0.2)
    first = in_store.writing()
    paused = first.__enter__()
    elsewhere(monkeypatch)
    with in_store.writing() as claim:
        claim.check()
        with pytest.raises(DestinationInUseError, match="another conversion writes there"):
            paused.check()
    with pytest.raises(DestinationInUseError):
        paused.check()
    monkeypatch.setattr(threading.Event, "wait", lambda *_: True)
    first.__exit__(None, None, None)
    assert in_store.there(".cytotable") == []


def test_a_store_without_conditions_has_one_writer_too(in_store, passing, quick):
    passing.unconditional = True
    with in_store.writing() as claim:
        claim.check()
        assert not claim.conditional
        with pytest.raises(DestinationInUseError), in_store.writing():
            pass
        claim.check()
    assert in_store.there(".cytotable") == []


def test_whoever_may_not_remove_leaves_a_marker_that_holds_nobody_up(in_store, passing, quick):
    passing.refused["DeleteObject"] = (403, "AccessDenied")
    for _ in range(2):
        with in_store.writing() as claim:
            claim.check()
    assert in_store.there(".cytotable") == [".cytotable/writing"]


def test_an_object_that_appeared_meanwhile_is_not_replaced(in_store, passing, tmp_path):
    with (
        pytest.raises(DestinationExistsError, match=r"A: exists, made meanwhile"),
        in_store.writing() as claim,
        in_store.together(tmp_path, claim, overwrite=False) as results,
    ):
        results.create("A").write(b"ours")
        there = in_store.there
        object.__setattr__(in_store, "there", lambda name: [])
        in_store.write("A", b"theirs")
    object.__setattr__(in_store, "there", there)
    with in_store.open("A") as file:
        assert file.read() == b"theirs"


def outcomes(calls: list) -> list[str]:
    """What becomes of calls that begin at the same moment, each in a thread."""
    barrier = threading.Barrier(len(calls))

    def run(call) -> str:
        barrier.wait()
        try:
            call()
        except CytoTableError as error:
            return f"{type(error).__name__}: {error}"
        return "done"

    with ThreadPoolExecutor(len(calls)) as threads:
        return sorted(threads.map(run, calls))


@pytest.mark.parametrize("dest", ["out", "out.parquet", "new/out"])
def test_of_two_conversions_to_one_new_destination_one_is_refused(tmp_path, dest):
    sources = [
        write_sqlite(tmp_path / f"{n}.sqlite", plate(JUMP, sites(*cells))) for n, cells in (("A", (3,)), ("B", (4, 2)))
    ]
    out = tmp_path / dest
    found = outcomes([lambda source=source: convert(source, out) for source in sources])
    assert [text.partition(":")[0] for text in found] == ["DestinationExistsError", "done"]
    files = [out] if out.is_file() else list(out.glob("*.parquet"))
    assert len({read_facts(file)["plate"] for file in files}) == 1
    assert not [name for name in names_in(tmp_path) if "/." in f"/{name}"]


def test_plates_added_at_once_have_one_type_in_each_column(tmp_path):
    sources = []
    for name, values in (("A", [1, 2, 3]), ("B", [0.5, 1.5, 2.5]), ("C", [4, 5, 6])):
        tables = plate(JUMP, sites(3))
        tables["Cells"].add_column("AreaShape_Odd", "FLOAT", values)
        sources.append(write_sqlite(tmp_path / f"{name}.sqlite", tables))
    found = outcomes([lambda s=source: datasets.add(s, tmp_path / "ds") for source in sources])
    assert found == ["done"] * 3, found
    for table in ("Cells", "Image", "Nuclei"):
        files = [str(path) for path in sorted((tmp_path / "ds" / table).rglob("*.parquet"))]
        assert len(files) == 3
        assert len({str(pq.read_schema(file).remove_metadata()) for file in files}) == 1
    assert ds.dataset(tmp_path / "ds" / "Cells").to_table()["Cells_AreaShape_Odd"].to_pylist()[0] == 1.0
    assert not [name for name in names_in(tmp_path) if "/." in f"/{name}"]


def test_a_build_of_the_lake_and_the_library_do_not_write_to_a_dataset_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "WAIT", 0.1)
    source = write_sqlite(tmp_path / "A.sqlite", plate(JUMP))
    datasets.add(source, tmp_path / "ds")
    with LocalDestination(tmp_path / "ds").writing():
        for change in (lambda: datasets.remove(tmp_path / "ds", "A"), lambda: datasets.align(tmp_path / "ds")):
            with pytest.raises(DestinationInUseError, match="another conversion writes there"):
                change()
    assert datasets.remove(tmp_path / "ds", "A")


def test_a_lock_that_was_put_by_an_attempt_without_an_answer_is_ones_own(in_store, passing, quick, monkeypatch):
    monkeypatch.setattr(store_lock, "_BEAT", 3600.0)

    def lost(answer: Answer) -> None:
        if answer.number == 0:
            answer.status, answer.content = 500, b""

    passing.altered["PutObject"] = lost
    with in_store.writing() as claim:
        claim.check()
    assert passing.seen["PutObject"] == 2


def test_a_lock_that_was_put_and_badly_answered_holds_nobody_up(in_store, passing, quick, monkeypatch):
    monkeypatch.setattr(store_lock, "_GONE", 3600.0)

    def refuse(answer: Answer) -> None:
        if answer.number == 0:
            answer.status, answer.content = 400, b""

    passing.altered["PutObject"] = refuse
    with pytest.raises(UploadError), in_store.writing():
        pass
    with in_store.writing() as claim:
        claim.check()


def test_a_lock_that_stays_is_held_by_one_at_a_time_and_free_when_its_process_is_killed(tmp_path):
    path = tmp_path / ".lock"
    code = f"from pathlib import Path; from cytotable_dagster.core.support.locks import Lock; Lock(Path({str(path)!r})).acquire(); print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        lock = locks.Lock(path)
        with pytest.raises(TimeoutError):
            lock.acquire(0)
        process.kill()
        process.wait()
    with lock, pytest.raises(TimeoutError):
        locks.Lock(path).acquire(0)
    lock.acquire(0)
    lock.release()
    assert path.exists()
