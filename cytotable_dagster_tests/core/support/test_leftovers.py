"""What processes leave is told from what others are working at, and removed."""

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from cytotable_dagster.core.support import leftovers
from cytotable_dagster.core.support.files import scratch_folder, whole_file
from cytotable_dagster.core.support.leftovers import named_without, owned_file, owned_folder, sweep, temporary_folder
from cytotable_dagster_tests.core.conftest import names_in

_OWNER = """
import sys
from pathlib import Path
from threading import Event
from cytotable_dagster.core.support.leftovers import owned_file, owned_folder
place = Path(sys.argv[1])
with owned_file(place, "Cells.parquet") as file, owned_folder(place, "out") as folder:
    file.write_text("half")
    (folder / "deep").mkdir()
    (folder / "deep" / "x").write_text("half")
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_process(place: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """One that has a temporary file and a folder in `place`."""
    command = [sys.executable, "-c", _OWNER, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def test_what_a_process_works_at_stays_and_what_it_left_when_it_was_killed_goes(tmp_path):
    (tmp_path / ".mine.tmp").write_text("of somebody else")
    (tmp_path / "Cells.parquet").write_text("result")
    with other_process(tmp_path) as process:
        there = names_in(tmp_path)
        assert len([name for name in there if name.endswith(".cytotable.tmp")]) == 2
        assert sweep(tmp_path) == []
        assert names_in(tmp_path) == there
        process.kill()
        process.wait()
        assert len(sweep(tmp_path)) == 2
    assert names_in(tmp_path) == [".mine.tmp", "Cells.parquet"]


def test_what_is_made_again_in_a_folder_that_was_swept_goes_too(tmp_path):
    with owned_folder(tmp_path, "out") as folder:
        pass
    (folder / "chunks").mkdir(parents=True)
    assert sweep(tmp_path) == [folder]
    assert names_in(tmp_path) == []


def test_whoever_comes_by_sweeps(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    out = tmp_path / "out"
    out.mkdir()
    for place in (tmp_path, out):
        with other_process(place):
            pass
    with scratch_folder(out) as scratch:
        assert list(tmp_path.rglob("*.tmp")) == [scratch]
    with other_process(tmp_path):
        pass
    with temporary_folder("x") as folder:
        assert list(tmp_path.glob(".*.tmp")) == [folder]
    assert names_in(tmp_path) == ["out"]


def test_owners_and_sweepers_in_a_crowd_never_take_from_each_other(tmp_path):
    def own(number: int) -> None:
        with owned_folder(tmp_path, "out") as folder:
            (folder / "x").write_text("x")
            with owned_file(folder, "y") as file:
                sweep(folder, tmp_path)
                assert file.exists()
            with whole_file(tmp_path / f"{number}") as file:
                sweep(tmp_path)
                file.write_text("whole")
            assert (folder / "x").read_text() == "x"

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(own, range(200)))
        list(threads.map(lambda _: sweep(tmp_path), range(8)))
    assert sorted(names_in(tmp_path), key=int) == [str(number) for number in range(200)]


def test_what_another_machine_left_has_to_be_a_day_old(tmp_path, monkeypatch):
    monkeypatch.setattr(leftovers, "machine", lambda: "0" * 8)
    with owned_folder(tmp_path, "out") as folder, owned_file(tmp_path, "file") as file:
        pass
    (folder / "chunks").mkdir(parents=True)
    for path in (folder / "chunks" / "x", file):
        path.write_text("half")
    monkeypatch.undo()
    assert sweep(tmp_path) == []
    old = time.time() - 25 * 3600
    os.utime(file, (old, old))
    for path in (folder, folder / "chunks"):
        os.utime(path, (old, old))
    assert sweep(tmp_path) == [file], "one file in the folder is younger"
    os.utime(folder / "chunks" / "x", (old, old))
    os.utime(folder / ".owner", (old, old))
    for path in (folder, folder / "chunks"):
        os.utime(path, (old, old))
    assert sweep(tmp_path) == [folder]


def test_links_are_not_followed_and_pipes_not_waited_for(tmp_path):
    with owned_file(tmp_path, "a") as link, owned_file(tmp_path, "b") as pipe:
        pass
    (tmp_path / "precious").mkdir()
    link.symlink_to(tmp_path / "precious")
    os.mkfifo(pipe)
    sweep(tmp_path)
    assert (tmp_path / "precious").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_another_user_left_stays(tmp_path):
    with owned_folder(tmp_path, "out") as folder:
        pass
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    assert sweep(tmp_path) == []
    assert folder.is_dir()


def test_where_nothing_can_be_locked_nothing_is_swept(tmp_path, monkeypatch):
    def no_locks(descriptor: int, how: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with owned_folder(tmp_path, "out") as folder:
        assert sweep(tmp_path) == []
        assert folder.is_dir()
    assert names_in(tmp_path) == []


def test_the_longest_name_has_a_temporary_one_too(tmp_path):
    with whole_file(tmp_path / ("ü" * 127)) as file:
        file.write_text("x")
    assert names_in(tmp_path) == ["ü" * 127]


def test_a_folder_that_is_gone_is_said_so(tmp_path):
    with pytest.raises(FileNotFoundError), owned_file(tmp_path / "gone", "x"):
        pass


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="Linux has a folder that takes no files")
def test_a_folder_that_takes_no_files_is_said_so():
    with pytest.raises(FileNotFoundError), owned_file(Path("/proc"), "x"):
        pass


def test_a_folder_goes_while_threads_still_write_into_it(tmp_path):
    over = Event()

    def write(folder: Path) -> None:
        while not over.is_set():
            try:
                (folder / secrets.token_hex(8)).write_bytes(b"late")
            except FileNotFoundError:
                return

    with ThreadPoolExecutor(8) as threads:
        try:
            for _ in range(5):
                with owned_folder(tmp_path, "plate") as folder:
                    for _ in range(8):
                        threads.submit(write, folder)
                assert names_in(tmp_path) == []
        finally:
            over.set()


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/disk/out/Cells.parquet", "/disk/out/Cells.parquet"),
        ("/disk/.out.1f2e3d4c-0a0b0c0d.cytotable.tmp/results/Cells.parquet", "/disk/out"),
        ("/disk/out/.out.1f2e3d4c-0a0b0c0d.cytotable.tmp/Cells/00001.parquet", "/disk/out"),
        ("/disk/out/.Cells.parquet.1f2e3d4c-0a0b0c0d.cytotable.tmp", "/disk/out/Cells.parquet"),
    ],
)
def test_a_temporary_is_told_as_what_it_is_for(path: str, named: str) -> None:
    assert named_without(path) == named
