"""Values kept by file: of the file as it is, read once by however many threads, and not without bounds."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import pytest

from cytotable_dagster.core.planning.plan import load_plan
from cytotable_dagster.core.support import file_values
from cytotable_dagster.core.support.file_values import FileValues
from cytotable_dagster.core.support.files import whole_file


class Reader:
    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, path: Path) -> str:
        self.read.append(path.name)
        return path.read_text()


def test_a_file_that_changes_is_read_again_even_with_its_old_size_and_time(tmp_path):
    values, reader, path = FileValues(), Reader(), tmp_path / "a"
    path.write_text("one")
    assert [values.get(path, reader, 1) for _ in range(3)] == ["one"] * 3 and reader.read == ["a"]
    status = path.stat()
    with whole_file(path) as temporary:
        temporary.write_text("two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert values.get(path, reader, 1) == "two"
    path.unlink()
    with pytest.raises(FileNotFoundError):
        values.get(path, reader, 1)
    with pytest.raises(FileNotFoundError):
        load_plan(tmp_path)


def test_what_was_written_is_not_read_and_as_many_are_kept_as_was_said(tmp_path):
    values, reader, other = FileValues(), Reader(), Reader()
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text(path.name)
        values.put(path, reader, 2, path.name.upper())
    values.get(paths[0], other, 2)
    assert [values.get(path, reader, 2) for path in (paths[1], paths[2], paths[0], paths[2], paths[1])] == [
        *"BCaCb",
    ]
    assert reader.read == ["a", "b"] and other.read == ["a"]


def test_threads_that_ask_together_wait_for_one_that_reads_and_for_no_other_file(tmp_path):
    values, together, going = FileValues(), Barrier(8), Event()
    for name in "ab":
        (tmp_path / name).write_text(name)
    read = []

    def slow(path: Path) -> object:
        read.append(path.name)
        if path.name == "a":
            # Ends only when the other file has been read.
            assert going.wait(60)
        else:
            going.set()
        return object()

    def ask(number: int) -> object:
        together.wait(60)
        return values.get(tmp_path / "ab"[number % 2], slow, 2)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert sorted(read) == ["a", "b"] and len(set(map(id, found))) == 2


def test_a_value_that_cannot_be_read_is_asked_for_again(tmp_path):
    values, path = FileValues(), tmp_path / "a"

    def number(path: Path) -> int:
        return int(path.read_text())

    path.write_text("no number")
    for _ in range(2):
        with pytest.raises(ValueError, match="no number"):
            values.get(path, number, 1)
    path.write_text("12")
    assert values.get(path, number, 1) == 12


def test_nothing_else_in_the_converter_keeps_what_it_read_by_path_and_time():
    core = Path(file_values.__file__).parents[1]
    keepers = [
        path.name for path in core.rglob("*.py") if "cache(" in path.read_text() and "st_mtime_ns" in path.read_text()
    ]
    assert keepers == []
