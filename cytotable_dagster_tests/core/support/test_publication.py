"""Results take the place of older ones together; what is cut off in between is finished or undone."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cytotable_dagster.core.errors import DestinationExistsError, UploadError
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.local_destination import LocalDestination
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster.core.support import publication
from cytotable_dagster.core.support.exchange import exchange
from cytotable_dagster_tests.core.conftest import names_in


@pytest.fixture(params=["folder", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Destination:
    return (
        destination_of(tmp_path / "out", Store()) if request.param == "folder" else request.getfixturevalue("in_store")
    )


@pytest.fixture(params=[True, False], ids=["exchange", "no exchange"])
def exchanging(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file system on which names change places in one step, or none such."""
    if not request.param:
        monkeypatch.setattr(publication, "exchange", lambda one, other: False)


def put(
    place: Destination, results: dict[str, str | dict[str, str]], *, overwrite: bool = False, name: str = ""
) -> None:
    """Publish files, and folders of files, by name."""
    with (
        place.writing(name) as claim,
        place.scratch() as scratch,
        place.together(scratch, claim, overwrite=overwrite) as on_their_way,
    ):
        for result, content in results.items():
            if isinstance(content, dict):
                (scratch / result).mkdir()
                for part, text in content.items():
                    (scratch / result / part).write_text(text)
                on_their_way.take(scratch / result, result)
            elif result.startswith("taken"):
                (scratch / result).write_text(content)
                on_their_way.take(scratch / result, result)
            else:
                on_their_way.create(result).write(content.encode())


def content(place: Destination) -> dict[str, str]:
    found = {}
    for stored in place.list():
        with place.open(stored.name) as file:
            found[stored.name] = file.read().decode()
    return found


def hidden(place: Destination) -> list[str]:
    """What is there besides results."""
    if isinstance(place, LocalDestination):
        return [name for name in names_in(place.root.parent) if Path(name).name.startswith(".")]
    return place.there(".cytotable")  # type: ignore[attr-defined]


OLD = {"A": "old a", "taken": "old", "F": {"0": "old 0", "1": "old 1"}}
NEW = {"A": "new a", "taken": "new", "B": "new b", "F": {"0": "new 0", "2": "new 2"}}
FLAT_OLD = {"A": "old a", "taken": "old", "F/0": "old 0", "F/1": "old 1"}
FLAT_NEW = {"A": "new a", "taken": "new", "B": "new b", "F/0": "new 0", "F/2": "new 2"}


def test_results_appear_together_and_take_the_place_of_older_ones(place, exchanging):
    if publication.exchange is not exchange and not isinstance(place, LocalDestination):
        pytest.skip("a store exchanges nothing")
    put(place, OLD)
    assert content(place) == FLAT_OLD
    put(place, NEW, overwrite=True)
    assert content(place) == FLAT_NEW
    put(place, {"F": "a file"}, overwrite=True)
    put(place, {"A": {"0": "a folder"}, "B": "b"}, overwrite=True)
    assert content(place) == {"A/0": "a folder", "taken": "new", "B": "b", "F": "a file"}
    assert hidden(place) == []


@pytest.mark.parametrize("again", [{"A": "x"}, {"F": "x"}, {"F": {"9": "x"}, "new": "y"}])
def test_what_is_there_is_not_replaced_unasked(place, again):
    put(place, OLD)
    with pytest.raises(DestinationExistsError, match=r"/[AF].*overwrite=True"):
        put(place, again)
    assert content(place) == FLAT_OLD
    assert hidden(place) == []


def test_a_file_that_somebody_else_makes_at_this_very_moment_is_not_replaced(tmp_path, monkeypatch):
    place = LocalDestination(tmp_path / "out")
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    (tmp_path / "out" / "A").write_text("theirs")
    monkeypatch.setattr(publication, "_became", lambda made, root: False)
    with pytest.raises(DestinationExistsError):
        put(place, {"A": "ours"})
    assert (tmp_path / "out" / "A").read_text() == "theirs"


def test_an_error_before_the_end_publishes_nothing(place):
    for old in ({}, OLD):
        if old:
            put(place, old)
        with (
            pytest.raises(ZeroDivisionError),
            place.writing() as claim,
            place.scratch() as scratch,
            place.together(scratch, claim, overwrite=True) as results,
        ):
            results.create("A").write(b"half")
            results.create("B").write(b"half")
            raise ZeroDivisionError
        assert content(place) == (FLAT_OLD if old else {})
    assert hidden(place) == []


# What a folder's publication calls on the way; it is broken off at each of these, before and after it did its work.
_STEPS = ("rename", "replace", "hardlink_to", "rmdir", "unlink", "mkdir", "write_text")


def steps(at: Callable[[int], None], names: tuple[str, ...] = _STEPS) -> dict[str, int]:
    """Call `at` before and after each step that changes the file system, from the publication on."""
    seen = {"number": 0, "begun": 0}

    def around(function):
        def run(*arguments, **options):
            if not seen["begun"]:
                return function(*arguments, **options)
            at(seen["number"])
            seen["number"] += 1
            result = function(*arguments, **options)
            at(seen["number"])
            seen["number"] += 1
            return result

        return run

    for name in names:
        setattr(Path, name, around(getattr(Path, name)))
    publication.exchange = around(publication.exchange)
    publication.shutil = type("shutil", (), {"rmtree": staticmethod(around(shutil.rmtree))})
    publish = publication.publish

    def begun(*arguments, **options):
        seen["begun"] = 1
        publish(*arguments, **options)

    from cytotable_dagster.core.storage import local_destination

    local_destination.publish = begun
    return seen


def in_a_child(function: Callable[[], None]) -> int:
    """Its exit status, in a process that is a copy of this one."""
    child = os.fork()
    if not child:
        try:
            function()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_process_that_is_killed_at_any_step_leaves_every_table_and_the_next_has_all_of_one_kind(tmp_path, exchanging):
    whole_old, whole_new = FLAT_OLD, FLAT_NEW
    ended, step = 9, 0
    found = set()
    while ended == 9:
        place = LocalDestination(tmp_path / str(step) / "out")
        place.root.parent.mkdir()
        put(place, OLD)

        def cut(place: LocalDestination = place, step: int = step) -> None:
            steps(lambda number: os._exit(9) if number == step else None)
            put(place, NEW, overwrite=True)

        ended = in_a_child(cut)
        assert ended in (0, 9)
        there = content(place)
        # By an exchange none is missing at any moment; else a folder is while two names change.
        if publication.exchange is exchange:
            assert {name.split("/")[0] for name in there} >= {"A", "taken", "F"}
        assert {"A", "taken"} <= there.keys()
        for name, text in there.items():
            assert text in (whole_old.get(name), whole_new.get(name))
        with place.writing(), place.scratch():
            pass
        found.add(text := json.dumps(content(place), sort_keys=True))
        assert content(place) in (whole_old, whole_new), f"killed at step {step}: {text}"
        assert hidden(place) == []
        step += 1
    assert step > 20
    assert len(found) == 2, "killed early it is the old set, killed late the new one"


def test_a_result_that_cannot_take_its_place_takes_the_others_back(tmp_path, exchanging, monkeypatch):
    for failing in range(12):
        place = LocalDestination(tmp_path / str(failing) / "out")
        place.root.parent.mkdir()
        put(place, OLD)
        real, calls = publication._put, []

        def put_or_fail(new: Path, path: Path, old: Path, calls=calls, real=real, failing=failing) -> None:
            if len(calls) == failing:
                raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
            calls.append(path)
            real(new, path, old)

        monkeypatch.setattr(publication, "_put", put_or_fail)
        try:
            put(place, NEW, overwrite=True)
        except PermissionError:
            assert content(place) == FLAT_OLD
        else:
            assert content(place) == FLAT_NEW
            assert failing == 4
            break
        finally:
            monkeypatch.setattr(publication, "_put", real)
        assert hidden(place) == []


def test_a_folder_made_anew_becomes_the_destination_in_one_step(tmp_path, monkeypatch):
    seen = []
    real = Path.rename
    monkeypatch.setattr(Path, "rename", lambda path, to: (seen.append(Path(to)), real(path, to))[1])
    place = LocalDestination(tmp_path / "a" / "out")
    put(place, OLD)
    assert [to for to in seen if to.is_relative_to(place.root)] == [place.root]
    assert content(place) == FLAT_OLD
    assert names_in(tmp_path / "a") == ["out", *(f"out/{name}" for name in ("A", "F", "F/0", "F/1", "taken"))]


def test_links_to_files_elsewhere_are_replaced_and_folders_that_are_links_stay(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "A").write_text("elsewhere")
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "B").symlink_to(tmp_path / "disk" / "A")
    put(LocalDestination(tmp_path / "out"), {"B": "new b", "C": "new c"}, overwrite=True)
    assert (tmp_path / "out").is_symlink()
    assert not (tmp_path / "disk" / "B").is_symlink()
    assert content(LocalDestination(tmp_path / "disk")) == {"A": "elsewhere", "B": "new b", "C": "new c"}


@pytest.mark.parametrize("failing", [pytest.param(n, marks=[pytest.mark.slow] * (n not in (0, 4))) for n in range(6)])
def test_an_object_that_the_store_refuses_takes_the_others_back(in_store, passing, failing):
    put(in_store, OLD)
    before = passing.seen["PutObject"]
    # The marker of the writer and four copies come first, then the record of them.
    passing.refused["PutObject"] = (400, "InvalidDigest")
    passing.refused_from["PutObject"] = before + 1 + failing
    with pytest.raises(UploadError, match="InvalidDigest"):
        put(in_store, NEW, overwrite=True)
    passing.clear()
    with in_store.writing():
        pass
    assert content(in_store) == FLAT_OLD
    assert hidden(in_store) == []


_KILLED = """
import json, sys
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster_tests.core.support.test_publication import NEW, put
put(destination_of(sys.argv[1], Store.checked(json.loads(sys.argv[2]))), NEW, overwrite=True)
"""


@pytest.mark.parametrize(
    ("operation", "number"), [("PutObject", 8), pytest.param("DeleteObject", 1, marks=pytest.mark.slow)]
)
def test_what_a_killed_process_had_begun_to_publish_in_a_store_is_undone(in_store, passing, operation, number):
    put(in_store, OLD)
    passing.held[operation] = passing.seen[operation] + number
    command = [sys.executable, "-c", _KILLED, in_store.address(), json.dumps(in_store.store.options)]
    with subprocess.Popen(command) as process:
        try:
            assert passing.holding.wait(100)
        finally:
            process.kill()
    passing.clear()
    assert hidden(in_store) != []
    assert {"A", "taken"} <= content(in_store).keys()
    with in_store.writing():
        pass
    assert content(in_store) in (FLAT_OLD, FLAT_NEW)
    assert hidden(in_store) == []
