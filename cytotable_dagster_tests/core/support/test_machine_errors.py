"""Full disks, missing rights and too little memory: one line of ours, nothing half-written, and all is well afterwards.

Disks are full for real: a small file system in memory, where the test may mount one, else it is skipped.
"""

import errno
import gzip
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from cytotable_dagster import convert, datasets
from cytotable_dagster.cli.main import main
from cytotable_dagster.core.errors import (
    CytoTableError,
    DiskFullError,
    FileAccessError,
    FileSystemError,
    OutOfMemoryError,
)
from cytotable_dagster.core.storage.local_destination import LocalDestination
from cytotable_dagster.core.support.machine_errors import as_ours, errors_of_machine
from cytotable_dagster.demo.wide import write_wide_plate
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import JUMP, plate, write_sqlite
from cytotable_dagster_tests.digests import digest


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plate of some megabytes."""
    path = tmp_path_factory.mktemp("large") / "P1.sqlite"
    write_wide_plate(path, images=8, objects_per_image=100, features=200)
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    yield from _mounted(tmp_path / "disk", "size=1m")


def _mounted(place: Path, options: str) -> Iterator[Path]:
    place.mkdir()
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True)
    except OSError:
        pytest.skip("no program to mount a file system")
    if mounted.returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A file system that takes nothing."""
    yield from _mounted(tmp_path / "read_only", "ro")


def line_of(error: BaseException) -> str:
    assert isinstance(error, CytoTableError)
    assert str(error)
    assert "\n" not in str(error)
    return str(error)


@pytest.mark.parametrize(
    "options",
    [{}, {"concat": False}, {"join": True}, {"joins": "SELECT * FROM 'cells.parquet'"}, {"chunk_size": 100}],
    ids=str,
)
def test_a_destination_that_is_full_is_one_line_and_empty_afterwards(large, small_disk, options):
    with pytest.raises(DiskFullError, match=r": the disk is full \(.*\); make room") as caught:
        convert(large, small_disk / "out", **options)
    assert line_of(caught.value).startswith(str(small_disk))
    assert names_in(small_disk) == []


def test_results_that_are_there_stay_where_the_disk_is_full(large, small_disk, tmp_path):
    small = write_sqlite(tmp_path / "small.sqlite", plate(JUMP))
    convert(small, small_disk / "out")
    before = {path: digest(path) for path in (small_disk / "out").iterdir()}
    with pytest.raises(DiskFullError):
        convert(large, small_disk / "out", overwrite=True)
    assert {path: digest(path) for path in (small_disk / "out").iterdir()} == before


def test_a_dataset_on_a_full_disk(large, small_disk, tmp_path):
    datasets.add(write_sqlite(tmp_path / "A.sqlite", plate(JUMP)), small_disk / "ds")
    before = names_in(small_disk)
    with pytest.raises(DiskFullError) as caught:
        datasets.add(large, small_disk / "ds")
    assert line_of(caught.value).startswith(str(small_disk))
    assert names_in(small_disk) == before
    assert list(datasets.tables(small_disk / "ds")["Cells"].members) == ["A"]


def test_several_plates_on_a_full_disk(large, small_disk, tmp_path):
    other = write_sqlite(tmp_path / "A.sqlite", plate(JUMP))
    with pytest.raises(DiskFullError) as caught:
        convert([other, large], small_disk / "out.parquet")
    assert line_of(caught.value).startswith(str(small_disk))
    assert names_in(small_disk) == []


def test_results_to_a_store_whose_scratch_files_find_no_room(large, in_store, small_disk, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    with pytest.raises(DiskFullError) as caught:
        convert(large, in_store.address("out"), dest_cloud=in_store.store.options, concat=False)
    line_of(caught.value)
    assert in_store.list() == []
    assert in_store.there(".cytotable") == []
    assert names_in(small_disk) == []


def test_a_packed_file_that_finds_no_room_is_not_told_as_damaged(small_disk, tmp_path):
    source = tmp_path / "source" / "P1"
    source.mkdir(parents=True)
    rows = "".join(f"1,{number},0.{number:09d},{number * 7919}\n" for number in range(100_000))
    with gzip.open(source / "Cells.csv.gz", "wt") as file:
        file.write("ImageNumber,ObjectNumber,AreaShape_Area,AreaShape_Other\n" + rows)
    (source / "Image.csv").write_text("ImageNumber,Metadata_Well\n1,A01\n")
    with pytest.raises(DiskFullError) as caught:
        convert(source, small_disk / "out")
    assert "damaged" not in line_of(caught.value)
    assert names_in(small_disk) == []


def test_a_file_that_may_not_grow_is_a_full_disk(tmp_path, large):
    # The limit is the process's.
    code = f"""
import resource
from cytotable_dagster import convert, errors
from cytotable_dagster.core.kernels.loading import load_all
load_all()
resource.setrlimit(resource.RLIMIT_FSIZE, ({200 << 10}, {200 << 10}))
try:
    convert({str(large)!r}, {str(tmp_path / "out")!r})
except errors.DiskFullError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert "the disk is full (File too large)" in ran.stdout, ran.stderr
    assert names_in(tmp_path) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_places_that_cannot_be_written_to(large, read_only, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    places = [read_only / "out", read_only / "out.parquet", Path("/proc/out"), Path("/proc/self/out.parquet")]
    for place in (*places, tmp_path / "file" / "out", Path("/dev/null/out")):
        with pytest.raises(CytoTableError) as caught:
            convert(large, place)
        assert str(place).split("/out")[0] in line_of(caught.value)
        assert main(["convert", str(large), str(place)]) == 1
        told = capsys.readouterr().err
        assert told.startswith("cytotable-dagster: ")
        assert told.count("\n") == 1, told
        with pytest.raises(CytoTableError):
            datasets.add(large, place)


def test_a_report_that_cannot_be_written(read_only, tmp_path, capsys):
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP))
    assert main(["convert", str(source), str(tmp_path / "out"), "--report", str(read_only / "report.json")]) == 1
    assert "Read-only file system" in capsys.readouterr().err
    with pytest.raises(FileAccessError):
        convert(source, tmp_path / "out2").report.write(read_only / "r" / "x.json")


def test_a_cache_that_is_full_or_cannot_be_written_to(large, in_store, small_disk, tmp_path):
    in_store.put(large, "P1.sqlite")
    for cache in (small_disk / "cache", Path("/proc/cache")):
        with pytest.raises(CytoTableError) as caught:
            convert(in_store.address("P1.sqlite"), tmp_path / "out", local_cache_dir=cache, **in_store.store.options)
        line_of(caught.value)
    assert not [name for name in names_in(small_disk) if "sqlite" in name and not name.endswith((".lock", ".use"))]
    assert names_in(tmp_path) == ["disk", *(f"disk/{name}" for name in names_in(small_disk))]


def raising(error: Exception) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), OutOfMemoryError),
        (pa.ArrowMemoryError("malloc of size 99 failed"), OutOfMemoryError),
        (RuntimeError("can't start new thread"), OutOfMemoryError),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), DiskFullError),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), DiskFullError),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), FileAccessError),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/x"), FileAccessError),
        (OSError("several\nlines"), FileAccessError),
        (OSError(errno.ESTALE, "Stale file handle"), FileSystemError),
        (OSError(errno.EIO, "Input/output error"), FileSystemError),
    ],
    ids=repr,
)
def test_what_the_machine_refuses_is_an_error_of_ours(error, kind):
    with pytest.raises(kind) as caught, errors_of_machine():
        raising(error)()
    line_of(caught.value)
    assert caught.value.__cause__ is error


def test_other_errors_are_left_alone():
    for error in (ValueError("x"), RuntimeError("x"), BrokenPipeError(errno.EPIPE, "Broken pipe")):
        with pytest.raises(type(error)) as caught, errors_of_machine():
            raising(error)()
        assert caught.value is error
    ours = DiskFullError("x")
    assert as_ours(ours) is ours


def test_too_little_memory_is_one_line(tmp_path, large):
    # Room for the interpreter and its libraries, and little more. With a little more still, Arrow's library may end the
    # process where it finds none.
    code = """
import resource, sys
from cytotable_dagster import convert, errors
from cytotable_dagster.core.kernels.loading import load_all
import psutil
load_all()
size = psutil.Process().memory_info().vms + int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (size, size))
try:
    convert(sys.argv[1], sys.argv[2])
except errors.CytoTableError as error:
    print(f"{type(error).__name__}: {error}")
else:
    print("done")
"""
    command = [sys.executable, "-c", code, str(large), str(tmp_path / "out"), str(2 << 20)]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "MALLOC_ARENA_MAX": "1"}
    )
    assert ran.stdout.startswith("OutOfMemoryError: too little memory"), ran.stderr[-3000:]
    assert ran.stdout.count("\n") == 1
    assert names_in(tmp_path) == []


def test_what_stands_in_the_way_of_a_file_is_named_and_not_the_temporary_one(tmp_path):
    (tmp_path / "Cells.parquet").mkdir()
    with (
        pytest.raises(
            FileAccessError, match=r"Cells\.parquet: cannot be .*Is a directory.*look at what is there"
        ) as caught,
        errors_of_machine(),
        LocalDestination(tmp_path).create("Cells.parquet") as out,
    ):
        out.write(b"x")
    line_of(caught.value)
    assert names_in(tmp_path) == ["Cells.parquet"]
