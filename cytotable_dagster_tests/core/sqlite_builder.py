"""Random SQLite files for the tests of the page reader, written by SQLite itself, and what SQLite reads in them."""

import random
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE_SIZES = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
DECLARED = ("", "INTEGER", "BIGINT", "REAL", "FLOAT", "DOUBLE PRECISION", "TEXT", "VARCHAR(9)", "NUMERIC", "BLOB")
DEFAULTS = (
    "NULL",
    "7",
    "-2.5",
    "'seven'",
    "x'00ff'",
    "9223372036854775807",
    "1e300",
    '"odd"',
    "TRUE",
    "(CAST(4.0 AS INTEGER))",
)
ODD_NAMES = ("with space", 'quo"te', "select", "ünïcode", "semi;colon", "rowid", "Order By", "a.b", "[x]", "percent%")
WORDS = ("nan", "NaN", "-nan", "inf", "-Inf", "Infinity", "", "  ", "null", "NULL", "abc", "é", "12", " 3.5 ", "-7",
         "+8", "1e5", "2.5e-3", ".5", "5.", "0x10", "1_0", "1e999", "9223372036854775808",
         "123456789012345678901234567890",
         "0.1000000000000000055511151231257827", "-0", "--1", "+", "e5", "١٢", "\u00a05", "5\x00")  # fmt: skip
INTEGERS = (0, 1, -1, 127, -128, 128, 32767, -32768, 2**23 - 1, -(2**23), 2**31 - 1, -(2**31), 2**47 - 1, -(2**47),
            2**53, 2**53 + 1, 2**63 - 1, -(2**63))  # fmt: skip
REALS = (0.0, -0.0, 1.0, -3.0, 0.1, 2.5, 1e300, 5e-324, float("inf"), -float("inf"), float("nan"), 2.0**53, 1e18, 1e19)


@dataclass(frozen=True)
class Shape:
    """What to draw: `mix` names the kinds of values, `changes` what happens to the table after it is filled."""

    seed: int
    page_size: int
    reserved: int
    columns: int
    rows: int
    mix: str
    longest: int
    key: str
    changes: tuple[str, ...]


def build(path: Path, shape: Shape) -> None:
    """Write a file with the table `t` and a neighbour that grows along with it."""
    rng = random.Random(shape.seed)
    _start_file(path, shape.page_size, shape.reserved)
    link = sqlite3.connect(path, isolation_level=None)
    link.execute("PRAGMA synchronous=OFF")
    link.execute("PRAGMA journal_mode=OFF")
    names = [ODD_NAMES[i] if i < len(ODD_NAMES) and rng.random() < 0.3 else f"c{i}" for i in range(shape.columns)]
    declared = [rng.choice(DECLARED) for _ in names]
    if shape.key == "primary":
        declared[rng.randrange(len(names))] = "INTEGER PRIMARY KEY"
    terms = ", ".join(f"{quoted(n)} {d}" for n, d in zip(names, declared, strict=True))
    link.execute(f"CREATE TABLE t({terms})")
    link.execute("CREATE TABLE neighbour(a, b)")
    link.execute("BEGIN")
    _fill(link, shape, rng, names, declared)
    link.execute("COMMIT")
    for i, change in enumerate(shape.changes):
        if change == "delete":
            link.execute("DELETE FROM t WHERE abs(random()) % 3 = 0")
        elif change == "delete range":
            low, high = link.execute(f"SELECT min({rowid(link)}), max({rowid(link)}) FROM t").fetchone()
            if low is not None:
                a, b = sorted((rng.randint(low, high), rng.randint(low, high)))
                link.execute(f"DELETE FROM t WHERE {rowid(link)} BETWEEN ? AND ?", (a, b))
        elif change == "vacuum":
            link.execute("VACUUM")
        elif change == "fill":
            link.execute("BEGIN")
            _fill(link, shape, rng, names, declared)
            link.execute("COMMIT")
        elif change == "add":
            kind = rng.choice(DECLARED)
            link.execute(f"ALTER TABLE t ADD COLUMN added{i} {kind} DEFAULT {rng.choice(DEFAULTS)}")
        elif change == "update":
            name = rng.choice(names)
            if declared[names.index(name)] != "INTEGER PRIMARY KEY":
                query = f"UPDATE t SET {quoted(name)} = ? WHERE abs(random()) % 2 = 0"
                link.execute(query, (_value(rng, shape.mix, shape.longest),))
    link.close()


def _start_file(path: Path, page_size: int, reserved: int) -> None:
    """A file of one page whose header reserves bytes at the end of each page, which no PRAGMA can set."""
    link = sqlite3.connect(path, isolation_level=None)
    link.execute(f"PRAGMA page_size={page_size}")
    link.execute("PRAGMA user_version=1")
    link.close()
    data = bytearray(path.read_bytes())
    data[20] = reserved
    data[105:107] = ((page_size - reserved) & 0xFFFF).to_bytes(2, "big")
    path.write_bytes(data)


def _fill(
    link: sqlite3.Connection, shape: Shape, rng: random.Random, names: Sequence[str], declared: Sequence[str]
) -> None:
    marks = ", ".join("?" * len(names))
    listed = ", ".join(map(quoted, names))
    primary = declared.index("INTEGER PRIMARY KEY") if "INTEGER PRIMARY KEY" in declared else -1
    given = next((name for name in ("_rowid_", "oid") if name not in names), None)
    # Wide tables get few rows, so that all files are about as large.
    for k in range(shape.rows if shape.columns < 50 else min(shape.rows, 6000 // shape.columns)):
        row = [_value(rng, shape.mix, shape.longest // len(names)) for _ in names]
        number = _rowid(rng, shape.key, k)
        if primary >= 0:
            row[primary] = number
            link.execute(f"INSERT OR IGNORE INTO t({listed}) VALUES ({marks})", row)
        elif shape.key == "sparse" and given:
            link.execute(f"INSERT OR IGNORE INTO t({given}, {listed}) VALUES (?, {marks})", [number, *row])
        else:
            link.execute(f"INSERT INTO t({listed}) VALUES ({marks})", row)
        if rng.random() < 0.3:
            link.execute("INSERT INTO neighbour VALUES (?, ?)", (k, "n" * rng.randrange(2 * shape.page_size)))


def _rowid(rng: random.Random, key: str, k: int) -> int | None:
    if key == "plain" or rng.random() < 0.3:
        return None
    number = rng.choice((rng.randint(-100, 1000), rng.randint(-(2**63), 2**63 - 2**20), k))
    return -2 if number == -1 else number


def _value(rng: random.Random, mix: str, longest: int) -> int | float | str | bytes | None:
    kind = rng.choice({"numbers": "iiwrrrrrrn", "texts": "ddddstn", "all": "iwrndstbl"}[mix])
    if kind == "i":
        return rng.choice(INTEGERS) if rng.random() < 0.5 else rng.randint(-1000, 1000)
    if kind == "w":
        return float(rng.randint(-(2**20), 2**20))
    if kind == "r":
        return rng.choice(REALS) if rng.random() < 0.2 else rng.gauss(0, 1)
    if kind == "d":
        return repr(rng.gauss(0, 1) * 10 ** rng.randint(-30, 30)) if rng.random() < 0.7 else str(rng.randint(-99, 99))
    if kind == "s":
        return rng.choice(WORDS)
    if kind == "t":
        return "text ü " * rng.randrange(4)
    if kind == "b":
        return rng.randbytes(rng.randrange(20)) if rng.random() < 0.7 else "blöb".encode()
    if kind == "l":
        # A few long values among many short ones keep the file small.
        size = rng.randrange(longest + 1) if rng.random() < 0.2 else rng.randrange(100)
        return "x" * size if rng.random() < 0.5 else rng.randbytes(size)
    return None


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def rowid(link: sqlite3.Connection, table: str = "t") -> str:
    """A name for the rowid that no column of the table has taken."""
    columns = {row[1].lower() for row in link.execute(f"PRAGMA table_info({quoted(table)})")}
    return next(name for name in ("rowid", "_rowid_", "oid") if name not in columns)


def sqlite_rows(path: Path, table: str = "t") -> tuple[list[int], list[list[object]]]:
    """Rowids and columns as SQLite gives them, in rowid order; text that is not UTF-8 is not allowed in them."""
    link = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    name = rowid(link, table)
    rows = link.execute(f"SELECT {name}, * FROM {quoted(table)} ORDER BY {name}").fetchall()
    width = len(link.execute(f"PRAGMA table_info({quoted(table)})").fetchall())
    link.close()
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width + 1)]
    return columns[0], columns[1:]
