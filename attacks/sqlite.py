"""Damaged SQLite plates, a third with a write-ahead log or a hot journal beside them, converted whole.

The oracle is SQLite itself, which reads a copy of the same bytes. Right is what it reads, every value in the type that
its column got and every loss counted, or an error of one line; where SQLite reads the plate to no end, either will do.
"""

import random
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from attacks.outcome import DIFFERENT, RIGHT, Outcome, refused
from cytotable_dagster import convert
from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.model.presets import preset_named
from cytotable_dagster.core.reports.results import ConversionResult
from cytotable_dagster_tests.core.plates import CYTOMINER, EXPORT, JUMP, Table, plate, sites, write_sqlite
from cytotable_dagster_tests.core.sqlite_mutations import MUTATIONS
from cytotable_dagster_tests.core.sqlite_oracle import converted

_LOG_HEADER, _FRAME_HEADER = 32, 24


@dataclass(frozen=True)
class _Shape:
    """A plate to damage; `kind` says how its tables are stored, `log` what lies beside it."""

    dialect: str
    page_size: int
    kind: str
    log: str


_KINDS = (
    (JUMP, 4096, "tables"),
    (JUMP, 512, "tables"),
    (EXPORT, 1024, "tables"),
    (CYTOMINER, 4096, "tables"),
    (JUMP, 2048, "views"),
    (EXPORT, 4096, "without rowid"),
    (JUMP, 4096, "utf-16"),
)
_SHAPES = (
    *(_Shape(*kind, log) for kind in _KINDS for log in ("", "", "-wal")),
    _Shape(JUMP, 1024, "tables", "-journal"),
    _Shape(EXPORT, 4096, "views", "-journal"),
)


def attack(seed: str, folder: Path) -> Outcome:
    """Damage a plate, and compare what is converted of it with what SQLite reads."""
    rng = random.Random(seed)
    shape = rng.choice(_SHAPES)
    files = {ending: bytearray(content) for ending, content in _files(shape)}
    done = _damage(rng, files, shape)
    for place in ("source", "oracle"):
        (folder / place).mkdir()
        for ending, content in files.items():
            (folder / place / f"P1.sqlite{ending}").write_bytes(content)
    joined = rng.random() < 0.2
    said = f"{shape.dialect} {shape.kind}{shape.log}, {done}{', joined' if joined else ''}"
    try:
        result = convert(
            folder / "source" / "P1.sqlite",
            folder / ("out.parquet" if joined else "out"),
            preset=shape.dialect,
            chunk_size=rng.choice((7, 20, None)),
            # A column for each of the source's, in its order.
            names="cytotable",
        )
    except CytoTableError as error:
        return refused(error)
    assert isinstance(result, ConversionResult)
    try:
        expected = _read(folder / "oracle" / "P1.sqlite", shape.dialect)
    except (sqlite3.Error, UnicodeError) as error:
        return Outcome(RIGHT, f"{said}; SQLite reads it to no end: {error}")
    differs = _joined_differs(result, expected) if joined else _differs(result, expected)
    return Outcome(DIFFERENT, f"{said}; {differs}") if differs else Outcome(RIGHT, said)


def _damage(rng: random.Random, files: dict[str, bytearray], shape: _Shape) -> str:
    """Damage the file, the log, or both; what was done."""
    done = []
    if not shape.log or rng.random() < 0.5:
        mutation = rng.choice((*MUTATIONS, _change_schema, _change_texts))
        mutation(rng, files[""], shape.page_size)
        done.append(mutation.__name__)
    if shape.log and (not done or rng.random() < 0.3):
        mutation = rng.choice(_LOG_MUTATIONS)
        mutation(rng, files[shape.log], shape.page_size)
        done.append(f"log: {mutation.__name__}")
    return " and ".join(done)


def _change_schema(rng: random.Random, data: bytearray, page_size: int) -> None:
    """What the file says of its tables: names, types, statements."""
    found = [at for at in range(len(data) - 6) if data[at : at + 6] in (b"CREATE", b"Create", b"Image_", b"Cells_")]
    if found:
        at = rng.choice(found) + rng.randrange(80)
        new = rng.choice((b"\xe9", b"\n", b"\r\n", b'"', b"'", b"\0", b"\xff\xfe", b"(", b",", b" AS ", b"--", b";"))
        data[at : at + len(new)] = new[: max(len(data) - at, 0)]


def _change_texts(rng: random.Random, data: bytearray, page_size: int) -> None:
    """Texts, in what is no UTF-8, among others."""
    new = rng.choice((b"\xfc\xbc", b"\n\r", b"\0\0", b"\xed\xa0", b"99", b"e9", b"--"))
    places = [at for at in range(len(data) - 1) if data[at : at + 2] == "ü".encode()]
    for at in rng.sample(places, min(len(places), rng.choice((1, 5, 50)))):
        data[at : at + 2] = new


def _flip_bits(rng: random.Random, log: bytearray, page_size: int) -> None:
    for _ in range(rng.choice((1, 2, 16))):
        log[rng.randrange(len(log))] ^= 1 << rng.randrange(8)


def _flip_header(rng: random.Random, log: bytearray, page_size: int) -> None:
    """The log's own header, or that of a frame or record."""
    start = rng.choice((0, 0, _frame(rng, log, page_size)))
    at = start + rng.randrange(_LOG_HEADER)
    if at < len(log):
        log[at] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))


def _cut(rng: random.Random, log: bytearray, page_size: int) -> None:
    del log[rng.choice((rng.randrange(len(log)), _frame(rng, log, page_size))) :]


def _exchange_frames(rng: random.Random, log: bytearray, page_size: int) -> None:
    size = _FRAME_HEADER + page_size
    a, b = _frame(rng, log, page_size), _frame(rng, log, page_size)
    log[a : a + size], log[b : b + size] = log[b : b + size], log[a : a + size]


def _repeat(rng: random.Random, log: bytearray, page_size: int) -> None:
    log += log[_frame(rng, log, page_size) :]


_LOG_MUTATIONS: Sequence[Callable[[random.Random, bytearray, int], None]] = (
    _flip_bits,
    _flip_header,
    _cut,
    _exchange_frames,
    _repeat,
)


def _frame(rng: random.Random, log: bytearray, page_size: int) -> int:
    """Where a frame begins; of a journal, about where a page does."""
    size = _FRAME_HEADER + page_size
    return _LOG_HEADER + size * rng.randrange(max((len(log) - _LOG_HEADER) // size, 1))


@lru_cache(maxsize=len(_SHAPES))
def _files(shape: _Shape) -> tuple[tuple[str, bytes], ...]:
    """The undamaged plate: the content of its file, and of the log beside it, by ending."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "P1.sqlite"
        pragmas = [f"page_size={shape.page_size}", *(['encoding="UTF-16le"'] if shape.kind == "utf-16" else [])]
        write_sqlite(path, _tables(shape.dialect), pragmas=pragmas, as_views=shape.kind == "views")
        if shape.kind == "without rowid":
            _without_rowid(path, shape.dialect)
        if not shape.log:
            return (("", path.read_bytes()),)
        with closing(sqlite3.connect(path, isolation_level=None)) as link:
            if shape.log == "-wal":
                link.execute("PRAGMA journal_mode=WAL")
                link.execute("PRAGMA wal_autocheckpoint=0")
            else:
                # Pages that have no room in memory go to the file before the transaction ends.
                link.execute("PRAGMA cache_size=2")
                link.execute("PRAGMA cache_spill=2")
                link.execute("BEGIN")
            for name in _tables(shape.dialect):
                stored = f"{name} stored" if shape.kind == "views" else name
                for remainder in (0, 1):
                    link.execute(
                        f'UPDATE "{stored}" SET X_Text = X_Text || ? WHERE ImageNumber % 2 = ?', ("!", remainder)
                    )
                link.execute(f'DELETE FROM "{stored}" WHERE ImageNumber = 3')
            return tuple((ending, path.with_name(path.name + ending).read_bytes()) for ending in ("", shape.log))


def _tables(dialect: str) -> dict[str, Table]:
    """A dozen images with what plates have: words in columns of numbers, long texts, nulls, large numbers."""
    rng = random.Random(dialect)
    tables = plate(dialect, sites(*(rng.randrange(9) for _ in range(12))))
    odd = ("nan", "inf", "", "n/a", "1e5", None, 2.5, 7, 2**53 + 1, "0012")
    for name, table in tables.items():
        compartment = name.removeprefix("Per_")
        rows = len(table.rows)
        for number in range(12):
            column = f"{compartment}_Texture_{number}"
            table.add_column(
                column, ("FLOAT", "REAL", "NUMERIC", "")[number % 4], [rng.gauss(0, 9) for _ in range(rows)]
            )
        table.add_column(f"{compartment}_Odd", "FLOAT", [rng.choice(odd) for _ in range(rows)])
        table.add_column(f"{compartment}_Large", "BIGINT", [rng.randrange(-(2**63), 2**63) for _ in range(rows)])
        table.add_column("X_Text", "TEXT", ["ü" * rng.choice((0, 3, 3, 900)) for _ in range(rows)])
        table.add_column("X_Blob", "BLOB", [rng.randbytes(rng.choice((0, 9))) for _ in range(rows)])
    return tables


def _without_rowid(path: Path, dialect: str) -> None:
    preset = preset_named(dialect)
    with closing(sqlite3.connect(path)) as link, link:
        for name in _tables(dialect):
            ((sql,),) = link.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,))
            keys = ", ".join(f'"{key}"' for key in preset.keys_of(name.removeprefix("Per_")))
            link.execute(f'ALTER TABLE "{name}" RENAME TO old')
            link.execute(f"{sql.rstrip().removesuffix(')')}, PRIMARY KEY ({keys})) WITHOUT ROWID")
            link.execute(f'INSERT INTO "{name}" SELECT * FROM old')
            link.execute("DROP TABLE old")


@dataclass(frozen=True)
class _Read:
    """A compartment's table as SQLite reads it: columns by name, and its keys."""

    columns: dict[str, list[object]]
    keys: tuple[str, ...]


def _read(path: Path, dialect: str) -> dict[str, _Read]:
    preset = preset_named(dialect)
    found = {}
    with closing(sqlite3.connect(path)) as link:
        link.text_factory = _text_or_bytes
        names = {
            name.lower(): name
            for (name,) in link.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")
            if isinstance(name, str)
        }
        for compartment in (*preset.metadata, *preset.compartments):
            name = names.get(preset.table_of(compartment).lower())
            if name is not None:
                columns = [row[1] for row in link.execute(f'PRAGMA table_info("{name}")')]
                chosen = ", ".join('"' + column.replace('"', '""') + '"' for column in columns)
                rows = link.execute(f'SELECT {chosen} FROM "{name}"').fetchall()
                values = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
                found[compartment] = _Read(dict(zip(columns, values, strict=True)), preset.keys_of(compartment))
    return found


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _differs(result: ConversionResult, expected: dict[str, _Read]) -> str:
    """What a result has otherwise than SQLite reads it; nothing where all is equal."""
    made = {output.path.stem: output for output in result.outputs}
    if set(made) != set(expected):
        return f"tables {sorted(made)} instead of {sorted(expected)}"
    for compartment, output in made.items():
        table, read = pq.read_table(output.path), expected[compartment]
        counted = {coercion.source: coercion.count for coercion in output.coercions}
        if len(table.schema) != len(read.columns):
            return f"{compartment}: {len(table.schema)} columns instead of {len(read.columns)}"
        typed = {}
        for field, (name, values) in zip(table.schema, read.columns.items(), strict=True):
            typed[name], unfit = converted(values, field.type)
            if unfit != counted.get(name, 0):
                return f"{compartment}: {counted.get(name, 0)} coercions in {name} instead of {unfit}"
        own = pa.table(list(typed.values()), names=list(typed))
        # By their bytes, as results are: Arrow's own order of texts.
        own = own.sort_by([(key, "ascending") for key in read.keys])
        for name, column in zip(own.column_names, table.columns, strict=True):
            if not _same(column.combine_chunks(), own[name].combine_chunks()):
                return f"{compartment}: {name} is not what SQLite reads"
    return ""


def _joined_differs(result: ConversionResult, expected: dict[str, _Read]) -> str:
    report = result.report
    if {part.compartment: part.rows_read for part in report.compartments} != {
        name: len(next(iter(read.columns.values()), [])) for name, read in expected.items()
    }:
        return "not the rows that SQLite reads"
    rows = pq.read_metadata(result.path).num_rows
    base = len(next(iter(expected[report.base].columns.values()), [])) if report.base in expected else 0
    return "" if rows == base else f"{rows} joined rows instead of {base}"


def _same(a: pa.Array, b: pa.Array) -> bool:
    if pa.types.is_floating(a.type):
        # Bit for bit, -0.0 too; nulls where nulls are.
        return a.is_valid().equals(b.is_valid()) and a.drop_null().view(pa.int64()).equals(
            b.drop_null().view(pa.int64())
        )
    return bool(a.equals(b))
