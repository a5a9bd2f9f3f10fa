"""Reading any table or view through DuckDB's SQLite scanner: the way for what is out of the ordinary.

A scan reads the whole table whatever part of it is wanted, so one scan serves all the batches of a task. Rows are
numbered by their place in key order, which both DuckDB and SQLite can sort by without a rowid.
The scanner stops at a value whose storage class is not the declared one; SQLite itself then reads the rest.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import DamagedSourceError, SourceChangedError
from cytotable_dagster.core.schema import BLOB, INTEGER, NULL, REAL, TEXT
from cytotable_dagster.core.sqlite_file import connection, quoted
from cytotable_dagster.core.types import Coercion, SourceColumn
from cytotable_dagster.core.values import as_example, fitted, typed_array

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import pyarrow as pa

_CLASSES = {"null": NULL, "integer": INTEGER, "real": REAL, "text": TEXT, "blob": BLOB}
# Result types that the scanner's own types become without a look at the values.
_SCANNED = {("BIGINT", "int64"), ("BIGINT", "double"), ("DOUBLE", "double"), ("VARCHAR", "string")}
# A value that did not fit: the row's number, the column, the value, and whether it was rounded.
_Unfit = tuple[int, str, Any, bool]
# Tables of a scan, in key order, with what did not fit in each.
_Stream = Iterator[tuple[Any, list[_Unfit]]]
# The scanner sorts what it reads; past this it uses the scratch folder.
_MEMORY_LIMIT = "1GB"
# SQLite allows 2,000 columns in a result, and a profile takes two a column.
_PROFILED_AT_ONCE = 900


@dataclass(frozen=True)
class ScanTable:
    """A table or view read by scanning; `reason` says why it is not decoded from its pages."""

    path: Path
    table: str
    columns: tuple[SourceColumn, ...]
    keys: tuple[str, ...]
    scratch: Path
    reason: str

    reader = "scan"

    def read_keys(self, others: Sequence[str]) -> "tuple[np.ndarray, list[pa.Array]]":
        """Row numbers from 0, and key and other columns in key order: int64, or string where a value is no number."""
        import numpy as np
        import pyarrow as pa

        with connection(self.path) as link:
            wanted = (*self.keys, *others)
            names = ", ".join(map(quoted, wanted))
            rows = link.execute(f"SELECT {names} FROM {quoted(self.table)} ORDER BY {self._order()}").fetchall()
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(wanted)
        arrays = []
        for name, values in zip(wanted, columns, strict=True):
            array, unfit = typed_array(values, name, pa.int64())
            arrays.append(typed_array(values, name, pa.string())[0] if unfit else array)
        return np.arange(len(rows)), arrays

    def profile(self) -> "np.ndarray":
        """Which storage classes occur in each column, shape (columns, 5); where several do, each counts at least 1."""
        import numpy as np

        counts = np.zeros((len(self.columns), len(_CLASSES)), dtype=np.int64)
        with connection(self.path) as link:
            for start in range(0, len(self.columns), _PROFILED_AT_ONCE):
                part = self.columns[start : start + _PROFILED_AT_ONCE]
                # Classes sort as blob, integer, null, real, text: the ends, and whether both numbers are there, decide.
                terms = ", ".join(
                    f"min(typeof({name})), max(typeof({name}))" for name in (quoted(c.name) for c in part)
                )
                ends = link.execute(f"SELECT {terms} FROM {quoted(self.table)}").fetchone()
                for index in range(len(part)):
                    for found in self._between(link, part[index].name, ends[2 * index], ends[2 * index + 1]):
                        counts[start + index, _CLASSES[found]] += 1
        return counts

    def batches(
        self, wanted: "Sequence[np.ndarray]", columns: Sequence[str], types: "Sequence[pa.DataType]"
    ) -> "Iterator[tuple[list[pa.Array], tuple[Coercion, ...]]]":
        """For each array of row numbers, those rows' columns; all of them in one scan.

        Raises:
            SourceChangedError: the table now has fewer rows than when its keys were read.
        """
        import pyarrow as pa

        empty = pa.schema(list(zip(columns, types, strict=True))).empty_table()
        given = 0
        if self._scannable(columns, types):
            import duckdb

            try:
                for batch in self._cut(self._scanned(columns, types), wanted, empty):
                    yield batch
                    given += 1
                return
            except (duckdb.TypeMismatchException, duckdb.ConversionException, pa.ArrowInvalid):
                pass
            except duckdb.Error as error:
                raise DamagedSourceError(f"{self.path}: {self.table} cannot be read ({error})") from error
        yield from self._cut(self._fetched(columns, types), wanted[given:], empty)

    def _between(self, link: sqlite3.Connection, column: str, low: str | None, high: str | None) -> list[str]:
        if low is None or high is None:
            return []
        if low == high:
            return [low]
        query = f"SELECT DISTINCT typeof({quoted(column)}) FROM {quoted(self.table)}"
        return [low, high] if {low, high} <= {"null", "real"} else [found for (found,) in link.execute(query)]

    def _order(self) -> str:
        """The order of the keys, numbers as numbers even where they are stored as text; text by its bytes, also that of
        equal numbers."""
        terms = []
        with connection(self.path) as link:
            for key in map(quoted, self.keys):
                from_table = f"SELECT 1 FROM {quoted(self.table)} WHERE typeof({key}) = 'text'"
                text = link.execute(f"{from_table} LIMIT 1").fetchone()
                odd = f"({key} = '' OR ltrim({key}, '+-') GLOB '*[^0-9]*')"
                if not text or not link.execute(f"{from_table} AND {odd} LIMIT 1").fetchone():
                    terms.append(f"CAST({key} AS BIGINT)")
                if text:
                    terms.append(f'CAST({key} AS VARCHAR) COLLATE "binary"')
        return ", ".join(terms)

    def _scannable(self, columns: Sequence[str], types: "Sequence[pa.DataType]") -> bool:
        declared = {column.name: _scanner_type(column) for column in self.columns}
        # The scanner's idea of what has no type sorts otherwise than SQLite's.
        if any(declared[key] == "other" for key in self.keys):
            return False
        return all((declared[name], str(type)) in _SCANNED for name, type in zip(columns, types, strict=True))

    def _scanned(self, columns: Sequence[str], types: "Sequence[pa.DataType]") -> _Stream:
        import pyarrow as pa

        schema = pa.schema(list(zip(columns, types, strict=True)))
        with scanner(self.scratch) as duck:
            duck.execute(f"ATTACH '{str(self.path).replace(chr(39), chr(39) * 2)}' AS source (TYPE sqlite, READ_ONLY)")
            names = ", ".join(map(quoted, columns))
            query = f"SELECT {names} FROM source.{quoted(self.table)} ORDER BY {self._order()}"
            for batch in duck.execute(query).to_arrow_reader(2048):
                # Text goes through as it is; ArrowInvalid where it is not UTF-8.
                batch.validate(full=True)
                yield pa.Table.from_batches([batch]).cast(schema), []

    def _fetched(self, columns: Sequence[str], types: "Sequence[pa.DataType]") -> _Stream:
        import pyarrow as pa

        names = ", ".join(map(quoted, columns))
        with connection(self.path) as link:
            link.text_factory = _text_or_bytes
            cursor = link.execute(f"SELECT {names} FROM {quoted(self.table)} ORDER BY {self._order()}")
            start = 0
            while rows := cursor.fetchmany(1024):
                arrays: list[pa.Array] = []
                unfit: list[_Unfit] = []
                for values, name, type in zip(zip(*rows, strict=True), columns, types, strict=True):
                    array, nulled, rounded = fitted(values, type)
                    arrays.append(array)
                    for positions, kept in ((nulled, False), (rounded, True)):
                        unfit.extend((start + position, name, values[position], kept) for position in positions)
                yield pa.Table.from_arrays(arrays, names=list(columns)), unfit
                start += len(rows)

    def _cut(
        self, tables: _Stream, wanted: "Sequence[np.ndarray]", held: "pa.Table"
    ) -> "Iterator[tuple[list[pa.Array], tuple[Coercion, ...]]]":
        """Cut a stream of tables, rows numbered from 0, into the wanted batches; `held` is such a table, empty."""
        import pyarrow as pa

        start = 0
        unfit: list[_Unfit] = []
        for rows in wanted:
            real = rows[rows >= 0]
            first, last = (int(real.min()), int(real.max())) if len(real) else (start, -1)
            while start + held.num_rows <= last:
                table, found = next(tables, (None, ()))
                if table is None:
                    raise SourceChangedError(f"{self.path}: {self.table} lost rows while it was read; try again")
                # Rows before the next wanted one are never asked for again.
                passed = min(max(first - start, 0), held.num_rows)
                start, held = start + passed, pa.concat_tables([held.slice(passed), table])
                if passed:
                    unfit = [one for one in unfit if one[0] >= start]
                unfit.extend(found)
            part = held.take(pa.array(rows - start, mask=rows < 0))
            yield [column.combine_chunks() for column in part.columns], _coercions(unfit, rows)


def _coercions(unfit: Sequence[_Unfit], rows: "np.ndarray") -> tuple[Coercion, ...]:
    """What of it is in these rows, as often as they have it."""
    if not unfit:
        return ()
    times = Counter(rows.tolist())
    totals: Counter[str] = Counter()
    rounded: Counter[str] = Counter()
    examples: dict[str, tuple[bool, Any]] = {}
    for row, name, value, kept in unfit:
        if times[row]:
            totals[name] += times[row]
            rounded[name] += times[row] * kept
            if examples.setdefault(name, (kept, value))[0] and not kept:
                examples[name] = kept, value
    return tuple(
        Coercion(name, count, as_example(examples[name][1]), rounded=rounded[name]) for name, count in totals.items()
    )


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _scanner_type(column: SourceColumn) -> str:
    """What the scanner makes of a declared type; only those whose values it gives as they are."""
    declared = column.declared.upper()
    if column.affinity == "INTEGER":
        return "BIGINT"
    if column.affinity == "REAL":
        return "DOUBLE"
    return "VARCHAR" if column.affinity == "TEXT" and "BLOB" not in declared else "other"


def scanner(scratch: Path) -> "duckdb.DuckDBPyConnection":
    """A connection with the scanner loaded from its Python package: nothing is fetched from the network."""
    import duckdb
    import duckdb_extension_sqlite_scanner as package

    scratch.mkdir(parents=True, exist_ok=True)
    duck = duckdb.connect(
        config={
            "memory_limit": _MEMORY_LIMIT,
            "temp_directory": str(scratch),
            "autoinstall_known_extensions": "false",
        }
    )
    built_for = resources.files(package) / "extensions" / f"v{duckdb.__version__}"
    duck.load_extension(str(built_for / "sqlite_scanner.duckdb_extension"))
    return duck
