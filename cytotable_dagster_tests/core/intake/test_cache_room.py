"""The cache keeps to its limit: what was not used for longest goes, never what is in use."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest

from cytotable_dagster.core.errors import DownloadError, OptionError
from cytotable_dagster.core.intake.cache_place import bytes_of
from cytotable_dagster.core.intake.cache_room import in_use, make_room, room_was_made


def cached(cache: Path, name: str, size: int, used: float) -> Path:
    path = cache / "bucket" / name
    with in_use(path):
        path.write_bytes(b"x" * size)
    path.with_name(f".{name}.json").write_text("{}")
    os.utime(path.with_name(f".{name}.use"), (used, used))
    return path


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[Path]]:
    yield [cached(tmp_path, name, 100, used) for name, used in (("A", 1000), ("B", 3000), ("C", 2000))]


def present(paths: list[Path]) -> str:
    return "".join(path.name for path in paths if path.exists())


@pytest.mark.parametrize(("need", "left"), [(50, "ABC"), (51, "BC"), (100, "BC"), (151, "B"), (350, "")])
def test_what_was_not_used_for_longest_goes_and_no_more_than_must(
    tmp_path: Path, three: list[Path], need: int, left: str
) -> None:
    make_room(tmp_path, tmp_path / "bucket" / "New", need, limit=350)
    assert present(three) == left


def test_a_plate_in_use_stays_whoever_uses_it(tmp_path: Path, three: list[Path]) -> None:
    program = (
        "import sys; from pathlib import Path; from cytotable_dagster.core.intake.cache_room import in_use\n"
        "with in_use(Path(sys.argv[1])): print('in use', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, three[0]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdin is not None
    try:
        assert other.stdout.readline() == "in use\n"
        os.utime(three[0].with_name(".A.use"), (1000, 1000))
        make_room(tmp_path, tmp_path / "bucket" / "New", 100, limit=300)
        assert present(three) == "AB"
        other.kill()
        other.wait()
        # A process that was killed uses nothing any more.
        make_room(tmp_path, tmp_path / "bucket" / "Other", 200, limit=400)
        assert present(three) == "B"
    finally:
        other.kill()
        other.wait()
        other.stdin.close()
        other.stdout.close()


def test_a_download_waits_for_plates_in_use_and_then_says_so(tmp_path: Path, three: list[Path]) -> None:
    with in_use(three[0]), in_use(three[1]), in_use(three[2]):
        with pytest.raises(DownloadError, match="in use"):
            make_room(tmp_path, tmp_path / "bucket" / "New", 100, limit=300, wait=0)
        assert present(three) == "ABC"
    leases = in_use(three[1])
    leases.__enter__()
    Timer(0.5, lambda: leases.__exit__(None, None, None)).start()
    make_room(tmp_path, tmp_path / "bucket" / "New", 300, limit=300, wait=60)
    assert present(three) == ""


def test_room_that_is_set_aside_is_not_given_twice(tmp_path: Path) -> None:
    first, second = (tmp_path / "bucket" / name for name in ("First", "Second"))
    with in_use(first):
        make_room(tmp_path, first, 200, limit=300)
        with pytest.raises(DownloadError):
            make_room(tmp_path, second, 200, limit=300, wait=0)
        first.write_bytes(b"x" * 50)
        room_was_made(first)
        make_room(tmp_path, second, 200, limit=300, wait=0)
    assert first.exists()


def test_a_folder_of_files_is_one_plate(tmp_path: Path) -> None:
    plate = tmp_path / "bucket" / "plate"
    with in_use(plate):
        (plate / "A01-1").mkdir(parents=True)
        for name in ("Cells.csv", "Nuclei.csv"):
            (plate / "A01-1" / name).write_bytes(b"x" * 100)
    make_room(tmp_path, tmp_path / "bucket" / "New", 101, limit=300)
    assert not plate.exists()


def test_a_plate_larger_than_the_limit_is_refused(tmp_path: Path, three: list[Path]) -> None:
    with pytest.raises(OptionError, match=r"400 bytes.*cache_limit"):
        make_room(tmp_path, tmp_path / "bucket" / "New", 400, limit=300)
    assert present(three) == "ABC"


@pytest.mark.parametrize(
    ("text", "size"), [("200GB", 200 * 10**9), ("1.5 TB", 15 * 10**11), ("10", 10), (7, 7), ("3k", 3000)]
)
def test_sizes_are_written_as_people_do(text: str | int, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1", "10 apples"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="cache_limit"):
        bytes_of(text)
