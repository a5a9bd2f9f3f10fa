"""What a SQLite file holds: its tables and columns, read by SQLite itself, never written."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cytotable_dagster.core.errors import DamagedSourceError, SourceFormatError, SourceNotFoundError
from cytotable_dagster.core.schema import affinity
from cytotable_dagster.core.types import SourceColumn

# https://sqlite.org/fileformat2.html#magic_header_string
MAGIC = b"SQLite format 3\x00"


@contextmanager
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection; SQLite's own errors come out as ours, naming the file.

    Raises:
        DamagedSourceError: SQLite finds the file malformed.
    """
    # A file in a folder that cannot be written cannot have a WAL index beside it: then read what is in the file.
    wal = path.with_name(path.name + "-wal")
    immutable = "" if wal.exists() and wal.stat().st_size else "&immutable=1"
    try:
        link = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{immutable}", uri=True)
        try:
            yield link
        finally:
            link.close()
    except sqlite3.DatabaseError as error:
        raise DamagedSourceError(f"{path}: SQLite cannot read it ({error}); fetch it again or mend it") from error


def check_is_sqlite(path: Path) -> None:
    """Refuse what is no SQLite file.

    Raises:
        SourceNotFoundError: there is no such file.
        SourceFormatError: it is a folder, empty, or does not start as SQLite files do.
    """
    if not path.exists():
        raise SourceNotFoundError(f"{path}: no such file")
    if path.is_dir():
        raise SourceFormatError(f"{path}: a folder, where one SQLite file is expected")
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
    if not start:
        raise SourceFormatError(f"{path}: the file is empty (0 bytes); fetch it again")
    if start != MAGIC:
        raise SourceFormatError(f"{path}: not a SQLite file (it starts with {start!r})")


def read_tables(path: Path) -> dict[str, tuple[SourceColumn, ...]]:
    """The tables and views of a file, by name, with their columns in declared order."""
    with connection(path) as link:
        names = link.execute(
            "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        ).fetchall()
        return {name: tuple(_columns(link, name)) for (name,) in names}


def _columns(link: sqlite3.Connection, table: str) -> Iterator[SourceColumn]:
    for name, declared in link.execute("SELECT name, type FROM pragma_table_info(?)", (table,)):
        yield SourceColumn(name, declared or "", affinity(declared or ""))


def quoted(name: str) -> str:
    """An SQL identifier: https://sqlite.org/lang_keywords.html."""
    return '"' + name.replace('"', '""') + '"'
