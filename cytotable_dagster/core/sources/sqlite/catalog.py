"""What a SQLite file holds: its tables and columns, read by SQLite itself, never written."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cytotable_dagster.core.errors import CytoTableError, DamagedSourceError, SourceFormatError, SourceNotFoundError
from cytotable_dagster.core.model.types import SourceColumn
from cytotable_dagster.core.sources.sqlite.affinity import affinity
from cytotable_dagster.core.sources.sqlite.header import check_whole
from cytotable_dagster.core.sources.sqlite.many_columns import TOO_MANY
from cytotable_dagster.core.support.file_values import FILE_VALUES

# https://sqlite.org/fileformat2.html#magic_header_string
MAGIC = b"SQLite format 3\x00"
# What Python's module raises for a file that is broken: also where names or texts are none, and lengths beyond reason.
# Files whose tables are remembered: a preset is chosen by them, and they are opened by it.
_KEPT = 4
UNREADABLE = (sqlite3.Error, sqlite3.Warning, UnicodeError, ValueError, OverflowError, MemoryError)


@contextmanager
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file that nobody writes to, without its log; SQLite's own errors come out as ours.

    Raises:
        DamagedSourceError: SQLite finds the file malformed, or it is cut short.
    """
    try:
        # No lock is taken and nothing appears beside the file, which may be where nothing can be written.
        link = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
        try:
            # As SQLite advises for files of unknown origin: https://sqlite.org/security.html.
            link.execute("PRAGMA trusted_schema=OFF")
            link.execute("PRAGMA cell_size_check=ON")
            yield link
        finally:
            link.close()
    except CytoTableError:
        raise
    except UNREADABLE as error:
        check_whole(path)
        reason = str(error) or "a value takes more memory than there is"
        raise DamagedSourceError(f"{path}: SQLite cannot read it ({reason}); fetch it again or mend it") from error


def is_sqlite_file(path: Path) -> bool:
    """Whether a file starts as SQLite's do, whatever it is called."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


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
    """The tables and views of a file, by name, with their columns in declared order; none for a broken view.

    Where one has more columns than this SQLite takes, which then reads none of them, the pages tell; none for what is
    no plain table.
    """
    return FILE_VALUES.get(path, _read_tables, _KEPT)


def _read_tables(path: Path) -> dict[str, tuple[SourceColumn, ...]]:
    try:
        with connection(path) as link:
            names = link.execute(
                "SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view') "
                "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            ).fetchall()
            return {name: _columns(link, name, kind == "view") for name, kind in names}
    except DamagedSourceError as error:
        if TOO_MANY not in str(error):
            raise
        # With the compiled reader, which few need here.
        from cytotable_dagster.core.sources.sqlite.header import NotOrdinary
        from cytotable_dagster.core.sources.sqlite.pages import stored_columns

        try:
            return stored_columns(path)
        except NotOrdinary:
            raise error from None


def _columns(link: sqlite3.Connection, table: str, is_view: bool) -> tuple[SourceColumn, ...]:
    try:
        found = link.execute("SELECT name, type FROM pragma_table_info(?)", (table,)).fetchall()
    except sqlite3.OperationalError as error:
        # Of a table that is not there, or of itself.
        if is_view and error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
            return ()
        raise
    return tuple(SourceColumn(name, declared or "", affinity(declared or "")) for name, declared in found)


def quoted(name: str) -> str:
    """An SQL identifier: https://sqlite.org/lang_keywords.html."""
    return '"' + name.replace('"', '""') + '"'
