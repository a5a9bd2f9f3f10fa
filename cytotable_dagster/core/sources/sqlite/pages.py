"""Tables read straight from the pages of an SQLite file: what is ordinary, fast; what is not, refused by name.

The file is read with `pread`, never mapped; memory is bounded by the rows asked for.
"""
# pyright: basic

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import DamagedSourceError, SourceNotFoundError, TargetError
from cytotable_dagster.core.model.types import Coercion, SourceColumn
from cytotable_dagster.core.sources.sqlite.header import NotOrdinary
from cytotable_dagster.core.sources.sqlite.open_file import OpenFile
from cytotable_dagster.core.sources.sqlite.statement import StoredTable, parse_table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from cytotable_dagster.core.sources.sqlite.walk import Walk

__all__ = ["NotOrdinary", "PageTable", "open_table"]

# Rows decoded at once by a pass over the whole table.
_SCAN_ROWS = 65536
# The table of tables: section "Storage Of The SQL Database Schema"; its root is page 1.
_SCHEMA = StoredTable(
    tuple(
        SourceColumn(name, declared, affinity)
        for name, declared, affinity in (
            ("type", "TEXT", "TEXT"),
            ("name", "TEXT", "TEXT"),
            ("tbl_name", "TEXT", "TEXT"),
            ("rootpage", "INT", "INTEGER"),
            ("sql", "TEXT", "TEXT"),
        )
    ),
    (None,) * 5,
    -1,
)


# What is asked of it.
_ENTRY = ("type", "name", "rootpage", "sql")


def open_table(path: Path, table: str) -> "PageTable":
    """Open one table for reading.

    Raises:
        NotOrdinary: the file or table is for SQLite itself to read.
        SourceNotFoundError, SourceFormatError: there is no such file, or it is not SQLite.
        DamagedSourceError: the file is broken.
        TargetError: it has no such table.
    """
    if not path.is_file():
        raise SourceNotFoundError(f"{path}: no such file")
    schema = _schema_of(path)
    root, sql = _find_table(schema, table)
    opened = PageTable(schema.file, table, root, parse_table(table, sql))
    if opened.has_row(-1):
        raise NotOrdinary("it has a row with rowid -1")
    return opened


def stored_columns(path: Path) -> dict[str, tuple[SourceColumn, ...]]:
    """The tables and views of a file that SQLite does not read, by name, with the columns of those that are ordinary;
    raises as `open_table` does."""
    found: dict[str, tuple[SourceColumn, ...]] = {}
    for kind, name, _, sql in entries(_schema_of(path)):
        if kind in ("table", "view") and isinstance(name, str) and not name.lower().startswith("sqlite_"):
            try:
                found[name] = parse_table(name, sql).columns if kind == "table" and sql else ()
            except NotOrdinary:
                found[name] = ()
    return found


def _schema_of(path: Path) -> "PageTable":
    return schema_in(OpenFile(path))


def schema_in(file: OpenFile) -> "PageTable":
    """The table of tables."""
    return PageTable(file, "sqlite_schema", 1, _SCHEMA)


def entries(schema: "PageTable") -> "Iterator[tuple[str | None, str | None, int | None, str | None]]":
    """Type, name, root page and statement of all that a file holds."""
    import pyarrow as pa

    rowids, _ = schema.keys(())
    arrays, _ = schema.read(rowids, _ENTRY, [pa.int64() if name == "rootpage" else pa.string() for name in _ENTRY])
    yield from zip(*(array.to_pylist() for array in arrays), strict=True)


def _find_table(schema: "PageTable", table: str) -> tuple[int, str]:
    """Root page and CREATE TABLE statement of a table; names are told apart as SQLite does, in ASCII."""
    for kind, name, root, sql in entries(schema):
        if kind in ("table", "view") and isinstance(name, str) and name.lower() == table.lower():
            if kind == "view":
                raise NotOrdinary("it is a view")
            if not root:
                raise NotOrdinary("it is a virtual table")
            if not 2 <= root <= schema.file.geometry.pages or not sql:
                raise DamagedSourceError(f"{schema.path}: table {table}: page 1: its root, page {root}, cannot be")
            return root, sql
    raise TargetError(f"{schema.path}: no table {table}")


class PageTable:
    """One ordinary rowid table of a file that nobody writes to. Safe to use from several threads."""

    def __init__(self, file: OpenFile, table: str, root: int, stored: StoredTable) -> None:
        self.file, self.path, self.table, self.root = file, file.path, table, root
        self.columns: tuple[SourceColumn, ...] = stored.columns
        self._stored = stored
        self._index = {column.name: i for i, column in enumerate(stored.columns)}
        self._profile: np.ndarray | None = None

    def __reduce__(self) -> tuple[object, ...]:
        # Another process opens the file anew: a file descriptor means nothing there.
        return open_table, (self.path, self.table)

    def count(self) -> int:
        """How many rows the table has; reads its leaf pages."""
        import numpy as np

        from cytotable_dagster.core.kernels.loading import call

        walk, total = self._walk(), np.zeros(1, np.int64)
        self._check(walk, call("count_rows", *walk.tree, total))
        self.file.check_unchanged()
        return int(total[0])

    def has_row(self, rowid: int) -> bool:
        """Whether there is a row of this rowid."""
        import numpy as np

        from cytotable_dagster.core.kernels.sqlite_layout import NO_SUCH_ROW
        from cytotable_dagster.core.sources.sqlite.walk import Output

        walk = self._walk()
        output = Output(self._stored, (), (), 1)
        status = walk.run("decode_rows", lambda: (*output.arrays, np.array([rowid]), np.zeros(1, np.int64)), output)
        if status == NO_SUCH_ROW:
            return False
        self._check(walk, status)
        return True

    def keys(self, columns: Sequence[str]) -> "tuple[np.ndarray, list[pa.Array]]":
        """Rowids (int64, ascending) and these columns of all rows, in one pass that follows overflow chains only as
        far as the columns need it.

        A column is int64 if all its values are whole numbers or texts of such (`nan`, `null` and blank being
        missing), else string.
        """
        import pyarrow as pa

        rowids, parts, coercions = self._scan(columns, [pa.int64()] * len(columns))
        texts = [i for i, found in enumerate(coercions) if found]
        if texts:
            again = self._scan([columns[i] for i in texts], [pa.string()] * len(texts))[1]
            for i, array in zip(texts, again, strict=True):
                parts[i] = array
        self.file.check_unchanged()
        return rowids, parts

    def profile(self) -> "np.ndarray":
        """Counts of storage classes, int64 of shape (columns, 5): NULL, INTEGER, REAL, TEXT, BLOB, as `typeof` says.

        One pass over the headers of all records, made once.
        """
        import numpy as np

        if self._profile is not None:
            return self._profile
        walk = self._walk()
        width = len(self.columns)
        counts, lengths = np.zeros((width, 5), np.int64), np.zeros(width + 1, np.int64)
        is_real = np.array([column.affinity == "REAL" for column in self.columns], np.uint8)
        self._check(walk, walk.run("profile_rows", lambda: (is_real, counts, lengths)))
        self.file.check_unchanged()
        if self._stored.rowid_column >= 0:
            counts[self._stored.rowid_column] = 0, lengths.sum(), 0, 0, 0
        # A record of n values lacks the columns from n on: those have their defaults.
        lacking = np.cumsum(lengths)[:-1]
        classes = {type(None): 0, int: 1, float: 2, str: 3, bytes: 4}
        for i, default in enumerate(self._stored.defaults):
            if i != self._stored.rowid_column:
                counts[i, classes[type(default)]] += lacking[i]
        self._profile = counts
        return counts

    def read(
        self, rowids: "np.ndarray", columns: Sequence[str], types: "Sequence[pa.DataType]"
    ) -> "tuple[list[pa.Array], tuple[Coercion, ...]]":
        """The rows with these rowids, in this order; rowid -1 gives a row of nulls.

        Args:
            rowids: int64; fastest when ascending without gaps, but any order and repeats are allowed.
            types: int64, float64, string or binary, one a column.

        Raises:
            DamagedSourceError: a page is broken, or a rowid does not exist.
            SourceChangedError: the file was written to since it was opened.
            SchemaError: more text in a column than an array holds.
        """
        import numpy as np

        from cytotable_dagster.core.sources.sqlite.walk import Output

        rowids = np.ascontiguousarray(rowids, np.int64)
        positions = np.arange(len(rowids))
        absent = rowids == -1
        if absent.any():
            positions = positions[~absent]
        wanted = rowids[positions] if len(positions) < len(rowids) else rowids
        if len(wanted) > 1 and not (np.diff(wanted) > 0).all():
            order = np.argsort(wanted, kind="stable")
            wanted, positions = wanted[order], positions[order]
        walk, output = self._walk(), Output(self._stored, columns, types, len(rowids), absent)
        self._check(walk, walk.run("decode_rows", lambda: (*output.arrays, wanted, positions), output))
        self.file.check_unchanged()
        arrays, coercions = output.finish()
        return arrays, tuple(found for found in coercions if found)

    def _scan(
        self, columns: Sequence[str], types: "Sequence[pa.DataType]"
    ) -> "tuple[np.ndarray, list[pa.Array], list[Coercion | None]]":
        """Rowids and columns of all rows, in order."""
        import numpy as np
        import pyarrow as pa

        from cytotable_dagster.core.sources.sqlite.walk import Output

        walk, unused = self._walk(), np.empty(0, np.int64)
        found: list[np.ndarray] = []
        parts: list[list[pa.Array]] = [[] for _ in columns]
        coercions: list[Coercion | None] = [None] * len(columns)
        while True:
            rowids = np.empty(_SCAN_ROWS, np.int64)
            output = Output(self._stored, columns, types, _SCAN_ROWS, scanning=True)
            status = walk.run("decode_rows", lambda: (*output.arrays, rowids, unused), output)  # noqa: B023
            self._check(walk, status)
            done = output.done
            arrays, problems = output.finish()
            found.append(rowids[:done])
            for i, (array, problem) in enumerate(zip(arrays, problems, strict=True)):
                parts[i].append(array.slice(0, done))
                coercions[i] = coercions[i] or problem
            if done < _SCAN_ROWS:
                return np.concatenate(found), [pa.concat_arrays(part) for part in parts], coercions

    def _walk(self) -> "Walk":
        from cytotable_dagster.core.sources.sqlite.walk import Walk

        file = self.file
        return Walk(file.fd, file.geometry, self.root, len(self.columns), file.pages_there)

    def _check(self, walk: "Walk", status: int) -> None:
        """Turn a status that tells of damage into an error, or into the news that the file changed."""
        from cytotable_dagster.core.kernels.sqlite_layout import DAMAGE, OK

        if status != OK:
            self.file.check_unchanged()
            what = DAMAGE.get(status, "it should hold a row that it does not")
            raise DamagedSourceError(f"{self.path}: table {self.table}, page {walk.bad_page}: {what}; fetch it again")
