"""The page reader gives what SQLite gives: over random tables and over real plates."""

import os
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cytotable_dagster.core.errors import (
    DamagedSourceError,
    SchemaError,
    SourceChangedError,
    SourceFormatError,
    SourceNotFoundError,
    TargetError,
)
from cytotable_dagster.core.sqlite_pages import NotOrdinary, PageTable, open_table
from cytotable_dagster_tests.core.sqlite_builder import PAGE_SIZES, Shape, build, quoted, sqlite_rows
from cytotable_dagster_tests.core.sqlite_oracle import converted

EXAMPLES = int(os.environ.get("CYTOTABLE_EXAMPLES", "120"))
DATA = Path(os.environ.get("CYTOTABLE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
TYPES = (pa.int64(), pa.float64(), pa.string(), pa.binary())
CLASSES = {type(None): 0, int: 1, float: 2, str: 3, bytes: 4}

SHAPES = st.builds(
    Shape,
    seed=st.integers(0, 2**32),
    page_size=st.sampled_from(PAGE_SIZES),
    reserved=st.sampled_from([0, 0, 0, 1, 8, 32]),
    columns=st.one_of(st.integers(1, 12), st.integers(1, 12), st.sampled_from([127, 128, 300, 1990])),
    rows=st.integers(0, 120),
    mix=st.sampled_from(["numbers", "texts", "all"]),
    longest=st.sampled_from([10, 3000, 200_000]),
    key=st.sampled_from(["plain", "plain", "sparse", "primary"]),
    changes=st.lists(
        st.sampled_from(["delete", "delete range", "vacuum", "fill", "add", "add", "update"]), max_size=5
    ).map(tuple),
)  # fmt: skip


def check_table(path: Path, table: str, rng: np.random.Generator) -> PageTable:
    """Compare every way of reading a table with SQLite."""
    rowids, columns = sqlite_rows(path, table)
    opened = open_table(path, table)
    names = [column.name for column in opened.columns]
    assert len(names) == len(columns)
    assert opened.count() == len(rowids)
    counts = np.array([[sum(type(v) is c for v in column) for c in CLASSES] for column in columns])
    np.testing.assert_array_equal(opened.profile(), counts)

    chosen = list(rng.permutation(len(names))[: rng.integers(1, 5)])
    found, keys = opened.keys([names[i] for i in chosen])
    assert found.tolist() == rowids
    for i, array in zip(chosen, keys, strict=True):
        expected, unfit = converted(columns[i], pa.int64())
        assert array.equals(converted(columns[i], pa.string())[0] if unfit else expected)

    ids = np.array(rowids, np.int64)
    check_read(opened, columns, ids, np.arange(len(ids)), range(len(names)), rng)
    part = sorted(rng.permutation(len(names))[: rng.integers(1, len(names) + 1)])
    start, stop = sorted(rng.integers(0, len(ids) + 1, 2))
    check_read(opened, columns, ids, np.arange(start, stop), part, rng)
    check_read(opened, columns, ids, rng.integers(-1, len(ids), 2 * len(ids)), part[::-1], rng)
    return opened


def check_read(opened, columns, ids, places, chosen, rng) -> None:
    """Read rows by place (-1: none), each column as a random type, and compare."""
    wanted = np.where(places < 0, -1, ids[places]) if len(ids) else np.full(len(places), -1)
    names = [opened.columns[i].name for i in chosen]
    types = [TYPES[rng.integers(len(TYPES))] for _ in chosen]
    arrays, coercions = opened.read(wanted, names, types)
    expected_coercions = {}
    for i, name, kind, array in zip(chosen, names, types, arrays, strict=True):
        expected, unfit = converted([None if p < 0 else columns[i][p] for p in places], kind)
        array.validate(full=True)
        assert array.type == kind
        assert array.equals(expected), (name, kind)
        if unfit:
            expected_coercions[name] = unfit
    assert {c.column: c.count for c in coercions} == expected_coercions


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(shape=SHAPES)
def test_random_tables_read_as_sqlite_reads_them(shape: Shape, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("random") / "plate.sqlite"
    build(path, shape)
    check_table(path, "t", np.random.default_rng(shape.seed))
    path.unlink()
