"""Private copies of views and other tables that only SQLite itself can read, as ordinary tables of ordinary files that
one reader reads.

The source is opened as one that nobody writes to: no lock is taken, nothing appears beside it. What its views do is
bounded, for a file may be anybody's: SQLite counts its steps, and a copy may be so many times as large as the file.
"""

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from cytotable_dagster.core.errors import SourceFormatError
from cytotable_dagster.core.sources.sqlite.catalog import connection, quoted

_PAGE_SIZE = 65536
_BLOCK = 8 << 20
# A view may take so many steps of SQLite's machine, some for each byte of the file, and its copy so many bytes. One
# that joins an image's columns to each object is a few times as large; SELECT * takes two steps a value.
_STEPS, _STEPS_PER_BYTE, _MOST_STEPS = 100_000_000, 50, 200_000_000_000
_BYTES, _TIMES = 64 << 20, 20
# A disk without so many pages to write is full.
_FEW_PAGES = 16
# Steps from one look at the count to the next.
_LOOK = 100_000
# The longest value that is longer than the file.
_LONGEST = 1_000_000


def copy_table(path: Path, table: str, columns: Sequence[str], copy: Path) -> None:
    """Copy a table or view to a file of its own, values as they are and in any order.

    Raises:
        DamagedSourceError: the file is broken.
        SourceFormatError: the table does not end within the bounds.
    """
    size = path.stat().st_size
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.unlink(missing_ok=True)
    pages = (_BYTES + _TIMES * size) // _PAGE_SIZE
    made = f"CREATE TABLE copy.{quoted(table)} ({', '.join(map(quoted, columns))})"
    # With the table's name before it, a name that is no column's is an error and not a text.
    names = ", ".join(f"source.{quoted(column)}" for column in columns)
    chosen = f"SELECT {names} FROM main.{quoted(table)} AS source"
    with connection(path) as link, _bounded(link, path, table, size):
        (encoding,) = link.execute("PRAGMA encoding").fetchone()
        if encoding == "UTF-8":
            link.execute("ATTACH ? AS copy", (str(copy.absolute()),))
            _set_up(link, pages)
            link.execute(made)
            with writing(copy), _no_larger(path, table, pages, copy):
                link.execute(f"INSERT INTO copy.{quoted(table)} {chosen}")
            link.execute("DETACH copy")
            return
        # SQLite attaches files of one encoding alone.
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as writer:
            writer.execute("ATTACH ? AS copy", (str(copy.absolute()),))
            _set_up(writer, pages)
            writer.execute(made)
            marks = ", ".join("?" * len(columns))
            with writing(copy), _no_larger(path, table, pages, copy):
                writer.execute("BEGIN")
                writer.executemany(f"INSERT INTO copy.{quoted(table)} VALUES ({marks})", link.execute(chosen))
                writer.execute("COMMIT")


def _set_up(link: sqlite3.Connection, pages: int) -> None:
    for pragma in (f"page_size={_PAGE_SIZE}", "journal_mode=OFF", "synchronous=OFF", f"max_page_count={pages}"):
        link.execute(f"PRAGMA copy.{pragma}").fetchall()


@contextmanager
def _bounded(link: sqlite3.Connection, path: Path, table: str, size: int) -> Iterator[None]:
    """Interrupt what takes too many steps, and refuse values that are longer than the file."""
    most = min(_STEPS + _STEPS_PER_BYTE * size, _MOST_STEPS)
    looks = iter(range(most // _LOOK))
    over = False

    def look() -> bool:
        nonlocal over
        over = next(looks, None) is None
        return over

    link.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(max(size, _LONGEST), 1_000_000_000))
    link.set_progress_handler(look, _LOOK)
    try:
        yield
    except sqlite3.OperationalError as error:
        if over:
            raise SourceFormatError(
                f"{path}: {table} does not end within {most:,} steps of SQLite; make a table of what it gives "
                "(CREATE TABLE ... AS SELECT ...), or mend it"
            ) from error
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            # An exception in the handler, which Python drops, is one of the user's.
            raise KeyboardInterrupt from error
        raise
    finally:
        link.set_progress_handler(None, 0)


@contextmanager
def writing(copy: Path) -> Iterator[None]:
    """Tell what is wrong with the disk from what is wrong with the source."""
    try:
        yield
    except sqlite3.OperationalError as error:
        number = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_IOERR_WRITE: errno.EIO}.get(error.sqlite_errorcode)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(copy)) from error


@contextmanager
def _no_larger(path: Path, table: str, pages: int, copy: Path) -> Iterator[None]:
    """Tell a copy that reaches its bound from a disk that is full."""
    try:
        yield
    except sqlite3.OperationalError as error:
        full = shutil.disk_usage(copy.parent).free < _FEW_PAGES * _PAGE_SIZE
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL or full:
            raise
        raise SourceFormatError(
            f"{path}: {table} gives more than {pages * _PAGE_SIZE:,} bytes, {_TIMES} times its file; make a table of "
            "what it gives (CREATE TABLE ... AS SELECT ...), or mend it"
        ) from error
