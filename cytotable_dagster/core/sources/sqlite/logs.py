"""A SQLite file whose newest content lies in a log or journal beside it: a private copy of both, which SQLite puts
together.

Nothing is written beside the file itself.
"""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from cytotable_dagster.core.errors import CytoTableError, DamagedSourceError, SourceFormatError
from cytotable_dagster.core.sources.sqlite.catalog import UNREADABLE
from cytotable_dagster.core.sources.sqlite.copies import writing
from cytotable_dagster.core.sources.sqlite.header import JOURNAL_MAGIC, log_beside
from cytotable_dagster.core.support.telling import COPYING, Tally, remark

_BLOCK = 8 << 20


def copy_with_log(path: Path, log: Path, folder: Path) -> Path:
    """A copy of a file in a folder, with that of its log beside it.

    Raises:
        SourceFormatError: the log is of a transaction over several files.
    """
    _refuse_journal_of_several(path, log)
    copy = folder / "plate.sqlite"
    folder.mkdir(parents=True, exist_ok=True)
    remark("copying %s and %s, which holds its newest content", path, log.name)
    _copy({path: copy, log: copy.with_name(copy.name + log.name.removeprefix(path.name))})
    return copy


def put_together(copy: Path, path: Path, log: Path) -> None:
    """Make one file of the copy of a file and that of its log.

    Raises:
        DamagedSourceError: SQLite cannot.
    """
    try:
        with writing(copy), closing(sqlite3.connect(copy, isolation_level=None)) as link:
            # To put them together no table need be understood, such as one of too many columns.
            link.execute("PRAGMA writable_schema=ON")
            # Alone with the file: SQLite then keeps the index of a log in memory.
            link.execute("PRAGMA locking_mode=EXCLUSIVE")
            link.execute("PRAGMA synchronous=OFF")
            link.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            link.execute("PRAGMA journal_mode=DELETE")
    except (CytoTableError, OSError):
        raise
    except UNREADABLE as error:
        raise DamagedSourceError(
            f"{path}: SQLite cannot read it with {log.name} beside it ({error}); fetch it again or mend it"
        ) from error
    if log_beside(copy) is not None:
        raise DamagedSourceError(f"{path}: SQLite does not put it and {log.name} together; open it there once")


def _copy(copies: Mapping[Path, Path]) -> None:
    tally = Tally(COPYING, sum(path.stat().st_size for path in copies))
    for path, copy in copies.items():
        with path.open("rb") as read, copy.open("wb") as written:
            while block := read.read(_BLOCK):
                written.write(block)
                tally.add(len(block))


def _refuse_journal_of_several(path: Path, log: Path) -> None:
    """A transaction over several files names another journal, which SQLite would look for, and remove."""
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - len(JOURNAL_MAGIC)))
        if log.name.endswith("-journal") and file.tell() and file.read() == JOURNAL_MAGIC:
            raise SourceFormatError(
                f"{path}: {log.name} beside it is of a transaction over several files; open it there once, with "
                "SQLite, to finish that"
            )
