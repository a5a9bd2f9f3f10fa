"""What others see who read while results are replaced again and again; `docs/destinations.md` says it.

`CYTOTABLE_READS=5000` reads more often, and tells how often what was seen (`pytest -s`).
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

READS = int(os.environ.get("CYTOTABLE_READS", "150"))
# Rows of each part, which tell the two sets apart.
ROWS = {"old": 3, "new": 5}
PARTS = 4

_WRITER = """
import shutil, sys
from pathlib import Path
from cytotable_dagster.core.storage.local_destination import LocalDestination
place, sets = LocalDestination(Path(sys.argv[1])), [Path(sys.argv[2]) / name for name in ("new", "old")]
number = 0
while True:
    number += 1
    with (
        place.writing() as claim,
        place.scratch() as scratch,
        place.together(scratch, claim, overwrite=True) as results,
    ):
        for path in sorted(sets[number % 2].iterdir()):
            shutil.copytree(path, scratch / path.name) if path.is_dir() else shutil.copy(path, scratch / path.name)
            results.take(scratch / path.name, path.name)
    print("replaced", flush=True)
"""


@pytest.fixture
def replaced(tmp_path: Path) -> Iterator[Path]:
    """A folder of two files, and of a folder of chunk files, that another process replaces all the time."""
    for name, rows in ROWS.items():
        for file in ("Cells.parquet", "Nuclei.parquet", *(f"Parts/0000{part}.parquet" for part in range(PARTS))):
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table({"from": [name] * rows}), path)
    command = [sys.executable, "-c", _WRITER, str(tmp_path / "out"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"replaced\n"
            yield tmp_path / "out"
            assert writer.poll() is None
        finally:
            writer.kill()


def seen(read: Callable[[], object]) -> Counter[object]:
    """What reads give, and how often."""
    found: Counter[object] = Counter()
    for _ in range(READS):
        try:
            found[read()] += 1
        except (OSError, pa.ArrowInvalid, duckdb.Error) as error:
            found[type(error).__name__] += 1
    print(dict(found))
    return found


def test_a_file_that_was_opened_is_always_of_one_kind(replaced):
    def read() -> tuple[str, ...]:
        with (replaced / "Cells.parquet").open("rb") as file:
            return tuple(pq.read_table(file)["from"].to_pylist())

    assert seen(read).keys() <= {("old",) * 3, ("new",) * 5}


def test_readers_that_open_a_file_twice_may_mix_two_but_find_it(replaced):
    # pyarrow and DuckDB look at the footer, and open the file again for the rest.
    path = replaced / "Cells.parquet"
    query = f'SELECT count(*), min("from"), max("from") FROM \'{path}\''
    for read in (lambda: tuple(pq.read_table(path)["from"].to_pylist()), lambda: duckdb.sql(query).fetchone()):
        assert not {"FileNotFoundError", "IOException"} & seen(read).keys()


def test_no_table_is_ever_missing(replaced):
    def read() -> bool:
        names = ("Cells.parquet", "Nuclei.parquet", "Parts")
        return all((replaced / name).exists() for name in names)

    assert seen(read).keys() == {True}


def test_two_files_may_be_of_two_kinds_and_their_content_says_so(replaced):
    def read() -> tuple[str, str]:
        return tuple(pq.read_table(replaced / f"{name}.parquet")["from"][0].as_py() for name in ("Cells", "Nuclei"))  # type: ignore[return-value]

    found = seen(read)
    assert {kind for pair in found for kind in pair} <= {"old", "new"}


def test_whoever_reads_a_folder_of_chunk_files_may_find_others_than_were_listed(replaced):
    def read() -> int:
        return ds.dataset(replaced / "Parts").to_table().num_rows

    found = seen(read)
    assert {PARTS * rows for rows in ROWS.values()} & found.keys()
    # Files may be of the other set, or gone; none is half of one.
    assert "ArrowInvalid" not in found
