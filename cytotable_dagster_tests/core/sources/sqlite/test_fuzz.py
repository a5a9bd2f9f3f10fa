"""A damaged file is an error, never a crash, a hang or a table with rows missing."""

import faulthandler
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.sources.sqlite.pages import NotOrdinary, open_table
from cytotable_dagster_tests.core.sqlite_builder import Shape, build, sqlite_rows
from cytotable_dagster_tests.core.sqlite_mutations import EXCHANGES, MUTATIONS, Mutation, several

FILES = int(os.environ.get("CYTOTABLE_FUZZ", "2200"))
SECONDS_A_FILE = 60
SHAPES = (
    Shape(1, 512, 0, 6, 150, "all", 4000, "plain", ()),
    Shape(2, 1024, 8, 40, 60, "numbers", 0, "sparse", ("delete", "add", "fill")),
    Shape(3, 512, 32, 300, 12, "all", 60_000, "primary", ("delete", "vacuum")),
    Shape(4, 4096, 0, 1000, 6, "numbers", 0, "plain", ()),
    Shape(5, 512, 0, 2, 400, "numbers", 0, "plain", ("delete range", "fill")),
)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Shape, bytes, int]]:
    """Files to damage, and how many rows their table has."""
    made = []
    for shape in SHAPES:
        path = tmp_path_factory.mktemp("original") / "plate.sqlite"
        build(path, shape)
        made.append((shape, path.read_bytes(), len(sqlite_rows(path)[0])))
    return made


@pytest.fixture
def no_hang() -> Iterator[None]:
    """End the process with a traceback where one file takes too long: compiled code cannot be interrupted."""
    faulthandler.dump_traceback_later(SECONDS_A_FILE * 10, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


def rows_read(path: Path) -> int | None:
    """How many rows every way of reading gives, which must agree; None if the damage was found."""
    try:
        table = open_table(path, "t")
        names = [column.name for column in table.columns]
        rowids, keys = table.keys(names[:2])
        assert table.count() == len(rowids)
        assert all(len(key) == len(rowids) for key in keys)
        counts = table.profile()
        assert (counts.sum(axis=1) == len(rowids)).all()
        types = [pa.float64() if row[1] or row[2] else pa.string() for row in counts]
        arrays, _ = table.read(rowids, names, types)
        backwards, _ = table.read(rowids[::-1], names[-1:], types[-1:])
    except (CytoTableError, NotOrdinary) as error:
        assert str(error)
        assert "\n" not in str(error)
        return None
    for array in (*arrays, *backwards):
        array.validate(full=True)
        assert len(array) == len(rowids)
    return len(rowids)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_damage_is_told_or_harmless(mutation: Mutation, originals, tmp_path: Path, no_hang: None):
    rng = random.Random(f"{mutation.__name__} {os.environ.get('CYTOTABLE_FUZZ_SEED', '')}")
    path = tmp_path / "plate.sqlite"
    found = 0
    for _ in range(FILES // len(MUTATIONS)):
        shape, content, rows = rng.choice(originals)
        data = bytearray(content)
        mutation(rng, data, shape.page_size)
        path.write_bytes(data)
        read = rows_read(path)
        found += read is None
        if read is None or read >= rows:
            continue
        # A whole page of a table in the place of another, its root above all, is as good as the right one to any
        # reader that does not account for every page of the file; SQLite then reads the same.
        assert mutation in (*EXCHANGES, several), f"{rows - read} rows missing of seed {shape.seed}"
        assert read == len(sqlite_rows(path)[0])
    assert found
