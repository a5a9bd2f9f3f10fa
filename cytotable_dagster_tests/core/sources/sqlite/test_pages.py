"""The page reader gives what SQLite gives: over random tables and over real plates."""

import os
import pickle
import random
import sqlite3
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
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
from cytotable_dagster.core.sources.sqlite.pages import NotOrdinary, PageTable, open_table
from cytotable_dagster_tests.core.sqlite_builder import PAGE_SIZES, Shape, build, sqlite_rows
from cytotable_dagster_tests.core.sqlite_oracle import converted

EXAMPLES = int(os.environ.get("CYTOTABLE_EXAMPLES", "120"))
DATA = Path(os.environ.get("CYTOTABLE_TEST_DATA", Path(__file__).parents[5] / "shared" / "data"))
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


def decimal_texts(rng: random.Random) -> Iterator[str]:
    """Numbers as texts: shortest forms, many digits, far exponents, exactly between two doubles, signs and spaces."""
    yield repr(struct.unpack("<d", rng.randbytes(8))[0])
    yield repr(rng.gauss(0, 1))
    yield f"{rng.randrange(10**19)}e{rng.randrange(-345, 310)}"
    yield f"-{rng.randrange(2**54)}.{rng.choice(('5', '50', '25', '75', '0', '500000'))}"
    middle, power = rng.randrange(2**53, 2**54) | 1, rng.randrange(12)
    yield f" +{middle * 2**power}"
    yield f"{middle * 5**power}e-{power}"
    yield f"{rng.randrange(10 ** rng.randrange(1, 25))}E{rng.randrange(-30, 30):+}"
    yield f"{rng.random():.{rng.randrange(25)}f}"
    yield f"-{rng.choice(('0', '.0', '0.', '0e5', '00', 'inf'))}"


def test_texts_become_the_nearest_doubles(tmp_path: Path):
    rng = random.Random(0)
    texts = [text for _ in range(20 * EXAMPLES) for text in decimal_texts(rng) if "nan" not in text]
    path = make(tmp_path / "texts.sqlite", "CREATE TABLE t(a TEXT)")
    with sqlite3.connect(path) as link:
        link.executemany("INSERT INTO t VALUES (?)", [(text,) for text in texts])
    link.close()
    table = open_table(path, "t")
    (found,), coercions = table.read(table.keys([])[0], ["a"], [pa.float64()])
    whole = [text for text in texts if text.strip(" +-").isdigit()]
    rounded = sum(Fraction(text) != Fraction(float(text)) for text in whole)
    assert [(coercion.count, coercion.rounded) for coercion in coercions] == [(rounded, rounded)]
    expected = np.array([float(text) for text in texts])
    np.testing.assert_array_equal(np.asarray(found).view(np.int64), expected.view(np.int64))


@pytest.mark.parametrize(
    "name",
    [
        "nf1_schwann/all_cellprofiler.sqlite",
        "cytominer_database/data_b_sqlite/data_b.sqlite",
        "jump_br00126114/test_BR00126114.sqlite",
    ],
)
def test_real_plates_read_as_sqlite_reads_them(name: str):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no test data at {path} (set CYTOTABLE_TEST_DATA)")
    link = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
    tables = [row[0] for row in link.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    link.close()
    compared = 0
    for table in tables:
        if not table.startswith("sqlite_"):
            check_table(path, table, np.random.default_rng(0))
            compared += 1
    assert compared >= 2


def make(path: Path, *statements: str) -> Path:
    link = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        link.execute(statement)
    link.close()
    return path


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """A table of 1,000 rows over many pages: a whole number, a real, a text."""
    return make(
        tmp_path / "plate.sqlite",
        "PRAGMA page_size=1024",
        "CREATE TABLE t(a INTEGER, b REAL, c TEXT)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
        "INSERT INTO t SELECT i, i / 3.0, 'text ' || i FROM n",
    )


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        (["CREATE TABLE t(a PRIMARY KEY) WITHOUT ROWID"], "WITHOUT ROWID"),
        (["CREATE TABLE u(a)", "CREATE VIEW t AS SELECT a FROM u"], "view"),
        (["CREATE VIRTUAL TABLE t USING fts5(a)"], "virtual"),
        (["PRAGMA encoding='UTF-16'", "CREATE TABLE t(a)", "INSERT INTO t VALUES ('x')"], "UTF-16"),
        (["CREATE TABLE t(a, b AS (a + 1))"], "generated"),
        (["CREATE TABLE t(a, b AS (a + 1) STORED)"], "generated"),
        (["CREATE TABLE t(a)", "INSERT INTO t(rowid, a) VALUES (-1, 5)"], "rowid -1"),
    ],
)
def test_what_is_out_of_the_ordinary_is_refused(statements: list[str], reason: str, tmp_path: Path):
    path = make(tmp_path / "odd.sqlite", *statements)
    with pytest.raises(NotOrdinary, match=reason) as caught:
        open_table(path, "t")
    assert reason in caught.value.reason


def test_a_log_with_frames_is_refused_and_a_finished_one_is_not(plate: Path):
    link = sqlite3.connect(plate, isolation_level=None)
    link.execute("PRAGMA journal_mode=WAL")
    link.execute("INSERT INTO t VALUES (1, 2, 'in the log')")
    with pytest.raises(NotOrdinary, match="write-ahead log"):
        open_table(plate, "t")
    link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert open_table(plate, "t").count() == 1001
    link.close()


def test_a_hot_journal_is_refused_and_a_finished_one_is_not(plate: Path):
    journal = plate.with_name(plate.name + "-journal")
    journal.write_bytes(bytes(512))
    assert open_table(plate, "t").count() == 1000
    journal.write_bytes(bytes.fromhex("d9d505f920a163d7") + bytes(504))
    with pytest.raises(NotOrdinary, match="journal"):
        open_table(plate, "t")


def test_files_that_are_not_sqlite_are_told_apart(plate: Path, tmp_path: Path):
    with pytest.raises(SourceNotFoundError):
        open_table(tmp_path / "none.sqlite", "t")
    for content in (b"", b"TableNumber,ImageNumber\n1,1\n", b"SQLite format 2"):
        (tmp_path / "other.sqlite").write_bytes(content)
        with pytest.raises(SourceFormatError):
            open_table(tmp_path / "other.sqlite", "t")
    (tmp_path / "other.sqlite").write_bytes(plate.read_bytes()[:-1])
    with pytest.raises(DamagedSourceError, match=r"other\.sqlite: cut short, [\d,]+ bytes of [\d,]+ by its header"):
        open_table(tmp_path / "other.sqlite", "t")
    with pytest.raises(TargetError, match="no table u"):
        open_table(plate, "u")


def test_damage_names_file_table_and_page(plate: Path):
    table = open_table(plate, "t")
    data = bytearray(plate.read_bytes())
    last = len(data) // 1024
    data[(last - 1) * 1024 :] = bytes(1024)
    plate.write_bytes(data)
    with pytest.raises(SourceChangedError):
        table.keys(["a"])
    with pytest.raises(DamagedSourceError, match=rf"plate\.sqlite: table t, page {last}: ") as caught:
        open_table(plate, "t").keys(["a"])
    assert "\n" not in str(caught.value)


def test_a_file_written_to_while_it_is_read_is_told(plate: Path):
    table = open_table(plate, "t")
    rowids, _ = table.keys([])
    make(plate, "DELETE FROM t WHERE a > 500")
    for again in (lambda: table.keys(["a"]), table.profile, table.count):
        with pytest.raises(SourceChangedError):
            again()
    with pytest.raises(SourceChangedError):
        table.read(rowids, ["a"], [pa.int64()])


def test_a_file_that_shrinks_while_it_is_read_is_told(plate: Path):
    table = open_table(plate, "t")
    os.truncate(plate, 2048)
    with pytest.raises(SourceChangedError):
        table.keys(["a"])


def test_a_row_that_does_not_exist_is_an_error(plate: Path):
    with pytest.raises(DamagedSourceError, match="table t, page"):
        open_table(plate, "t").read(np.array([1, 1001]), ["a"], [pa.int64()])


def test_text_that_is_not_utf8_becomes_null_and_is_counted(tmp_path: Path):
    path = make(
        tmp_path / "p.sqlite", "CREATE TABLE t(a, b)", "INSERT INTO t VALUES (1, 'x'), (2, CAST(x'ff' AS TEXT))"
    )
    table = open_table(path, "t")
    arrays, coercions = table.read(np.array([1, 2]), ["b"], [pa.string()])
    assert arrays[0].to_pylist() == ["x", None]
    assert [(found.column, found.count) for found in coercions] == [("b", 1)]
    arrays, coercions = table.read(np.array([1, 2]), ["b"], [pa.float64()])
    assert arrays[0].null_count == 2
    assert coercions[0].count == 2
    assert table.read(np.array([2]), ["b"], [pa.binary()])[0][0].to_pylist() == [b"\xff"]


def test_columns_without_gaps_have_no_bitmap_and_share_one_buffer(plate: Path):
    table = open_table(plate, "t")
    rowids, _ = table.keys([])
    (a, b), coercions = table.read(rowids, ["a", "b"], [pa.int64(), pa.float64()])
    assert coercions == ()
    assert a.buffers()[0] is None
    assert b.buffers()[1].address == a.buffers()[1].address + 8 * len(a)
    (a,), _ = table.read(np.array([5, -1]), ["a"], [pa.int64()])
    assert a.to_pylist() == [5, None]


def test_a_table_that_is_pickled_is_opened_anew(plate: Path):
    table = pickle.loads(pickle.dumps(open_table(plate, "t")))
    assert table.count() == 1000


def test_names_of_tables_are_told_apart_as_sqlite_does(plate: Path):
    assert open_table(plate, "T").count() == 1000


def test_nothing_to_read_is_read(plate: Path):
    table = open_table(plate, "t")
    arrays, _ = table.read(np.array([], np.int64), ["a", "c"], [pa.int64(), pa.string()])
    assert [len(array) for array in arrays] == [0, 0]
    assert table.read(np.array([1, 2]), [], []) == ([], ())
    with pytest.raises(SchemaError, match="nowhere"):
        table.read(np.array([1]), ["nowhere"], [pa.int64()])


def test_threads_read_one_table_at_once(plate: Path):
    table = open_table(plate, "t")
    rowids, _ = table.keys([])
    sums: list[int] = []

    def work(start: int) -> None:
        for _ in range(20):
            (a,), _ = table.read(rowids[start::4], ["a"], [pa.int64()])
            sums.append(int(np.asarray(a).sum()))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sums) == 80
    assert sum(sums) == 20 * 500_500


def test_reading_few_rows_touches_few_pages(plate: Path, monkeypatch: pytest.MonkeyPatch):
    table = open_table(plate, "t")
    (a,), _ = table.read(np.array([500]), ["a"], [pa.int64()])
    assert a.to_pylist() == [500]
    # Damage elsewhere in the table goes unseen: those pages are not read.
    data = bytearray(plate.read_bytes())
    data[-1024:] = bytes(1024)
    plate.write_bytes(data)
    (a,), _ = open_table(plate, "t").read(np.array([500]), ["a"], [pa.int64()])
    assert a.to_pylist() == [500]


def test_importing_the_reader_imports_neither_compiler_nor_arrow():
    code = "import sys, cytotable_dagster.core.sources.sqlite.pages; sys.exit('numba' in sys.modules or 'pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
