"""Commits of a run to Dagster's own SQLite, some four hundred of them, each of which would wait for the disk."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, event


@contextmanager
def commits_that_do_not_wait() -> Iterator[None]:
    """While the block lasts, commits to databases with a write-ahead log, as Dagster's have one, outlive this process
    but wait for no disk. A power cut may take the last of them and leaves the database whole
    (https://www.sqlite.org/pragma.html#pragma_synchronous); chunks whose events it took are recorded by the next run.
    """

    # A function of this block, so that another one that ends does not take it away.
    def wait_not(connection: object, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            if mode == "wal":
                connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(Engine, "connect", wait_not)
    try:
        yield
    finally:
        event.remove(Engine, "connect", wait_not)
