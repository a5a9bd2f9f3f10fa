"""What a CREATE TABLE statement says about how rows are stored, learnt by running it in an empty database in memory."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from cytotable_dagster.core.model.types import SourceColumn
from cytotable_dagster.core.sources.sqlite.affinity import affinity
from cytotable_dagster.core.sources.sqlite.header import NotOrdinary
from cytotable_dagster.core.sources.sqlite.many_columns import TOO_MANY, parts_of

# Statements that a schema may run here; a crafted one may not read, attach or call anything.
_ALLOWED = {
    sqlite3.SQLITE_CREATE_TABLE,
    sqlite3.SQLITE_CREATE_INDEX,
    sqlite3.SQLITE_INSERT,
    sqlite3.SQLITE_UPDATE,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_REINDEX,
    sqlite3.SQLITE_TRANSACTION,
}
_PLAIN_TABLE = re.compile(r"\s*CREATE\s+TABLE\b", re.IGNORECASE)


@dataclass(frozen=True)
class StoredTable:
    """A table's columns in stored order.

    `defaults` are the values (None, int, float, str or bytes) of columns that a record ends before: those of
    `ALTER TABLE ADD COLUMN`. `rowid_column` is the position of the INTEGER PRIMARY KEY, -1 if there is none.
    """

    columns: tuple[SourceColumn, ...]
    defaults: tuple[int | float | str | bytes | None, ...]
    rowid_column: int


@lru_cache(maxsize=64)
def parse_table(name: str, sql: str) -> StoredTable:
    """Columns of a table from its statement in `sqlite_schema`.

    Raises:
        NotOrdinary: WITHOUT ROWID, generated columns, or a statement that this SQLite does not run.
    """
    if not _PLAIN_TABLE.match(sql):
        raise NotOrdinary("it is a virtual table")
    try:
        return _made_by(name, sql)
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        found = _in_parts(name, sql) if TOO_MANY in str(error) else None
        if found is None:
            raise NotOrdinary(f"its CREATE TABLE statement is not understood ({error})") from error
        return found


def _made_by(name: str, sql: str) -> StoredTable:
    with _memory() as link:
        link.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY)
        link.execute(sql)
        link.set_authorizer(None)
        return _stored_table(link, name)


def _in_parts(name: str, sql: str) -> StoredTable | None:
    """The table that a statement of too many columns makes; None where its parts are no statements."""
    columns: list[SourceColumn] = []
    defaults: list[int | float | str | bytes | None] = []
    rowid_column = -1
    for plain, keyed in parts_of(sql):
        try:
            try:
                part = _made_by(name, keyed)
            except sqlite3.OperationalError:
                # The key is of columns of another part.
                part = _made_by(name, plain)
        except (sqlite3.Error, sqlite3.Warning, ValueError):
            return None
        if part.rowid_column >= 0:
            rowid_column = len(columns) + part.rowid_column
        columns.extend(part.columns)
        defaults.extend(part.defaults)
    return StoredTable(tuple(columns), tuple(defaults), rowid_column)


def _stored_table(link: sqlite3.Connection, name: str) -> StoredTable:
    quoted = '"' + name.replace('"', '""') + '"'
    facts = [row for row in link.execute("PRAGMA table_list") if row[0] == "main" and row[1].lower() == name.lower()]
    if len(facts) != 1:
        raise NotOrdinary("its CREATE TABLE statement makes another table")
    _, _, kind, _, without_rowid, strict = facts[0]
    if kind != "table" or without_rowid:
        raise NotOrdinary("it is a table WITHOUT ROWID" if without_rowid else f"it is a {kind} table")
    rows = link.execute(f"PRAGMA table_xinfo({quoted})").fetchall()
    if any(hidden for *_, hidden in rows):
        raise NotOrdinary("it has generated columns")
    columns = tuple(
        SourceColumn(column, declared, "BLOB" if strict and declared.upper() == "ANY" else affinity(declared))
        for _, column, declared, *_ in rows
    )
    defaults = tuple(
        None if text is None else _default(text, column.affinity)
        for column, (_, _, _, _, text, _, _) in zip(columns, rows, strict=True)
    )
    return StoredTable(columns, defaults, _rowid_column(link, quoted, rows))


def _rowid_column(link: sqlite3.Connection, quoted: str, rows: list[tuple[object, ...]]) -> int:
    """Position of the column that is the rowid: https://sqlite.org/lang_createtable.html#rowids_and_the_integer_primary_key.

    A primary key that is not the rowid has an index of its own, whose origin is `pk`.
    """
    keys = [i for i, row in enumerate(rows) if row[5]]
    origins = [row[3] for row in link.execute(f"PRAGMA index_list({quoted})")]
    return keys[0] if len(keys) == 1 and "pk" not in origins else -1


def _default(text: str, kind: str) -> int | float | str | bytes | None:
    """The value that SQLite gives a row older than the column: asked from SQLite itself.

    A default that is not constant (CURRENT_TIMESTAMP) cannot have been added to a table with rows.
    """
    for spelled in (text, f"({text})"):
        with _memory() as link:
            link.execute("CREATE TABLE t(a)")
            link.execute("INSERT INTO t VALUES (0)")
            try:
                link.execute(f"ALTER TABLE t ADD COLUMN b {kind} DEFAULT {spelled}")
                value: int | float | str | bytes | None = link.execute("SELECT b FROM t").fetchone()[0]
                return value
            except (sqlite3.Error, sqlite3.Warning):
                continue
    return None


@contextmanager
def _memory() -> Iterator[sqlite3.Connection]:
    link = sqlite3.connect(":memory:", isolation_level=None)
    try:
        yield link
    finally:
        link.close()
