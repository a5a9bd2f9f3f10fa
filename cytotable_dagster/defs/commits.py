"""Commits of a run to Dagster's own SQLite, some four hundred of them, each of which would wait for the disk."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from threading import Lock

from sqlalchemy import Engine, event


@contextmanager
def commits_that_do_not_wait() -> Iterator[None]:
    """While the block lasts, commits to databases with a write-ahead log, as Dagster's have one, outlive this process
    but wait for no disk. A power cut may take the last of them and leaves the database whole
    (https://www.sqlite.org/pragma.html#pragma_synchronous); chunks whose events it took are recorded by the next run.

    Dagster connects anew for each of them, and the last connection that is closed copies the log into the database and
    waits for the disk, so one of ours stays open.
    """
    held, lock = dict[str, sqlite3.Connection](), Lock()

    # A function of this block, so that another one that ends does not take it away.
    def wait_not(connection: object, _: object) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        if mode == "wal":
            connection.execute("PRAGMA synchronous=NORMAL")
            with lock, suppress(sqlite3.Error):
                _hold(connection, held, stack)

    with ExitStack() as stack:
        event.listen(Engine, "connect", wait_not)
        stack.callback(event.remove, Engine, "connect", wait_not)
        yield


def _hold(connection: sqlite3.Connection, held: dict[str, sqlite3.Connection], stack: ExitStack) -> None:
    """Keep a connection of our own to the same file open, until the stack ends."""
    path = next(path for _, name, path in connection.execute("PRAGMA database_list") if name == "main")
    if path and path not in held:
        # Closed by whichever thread ends the block.
        ours = stack.enter_context(closing(sqlite3.connect(path, check_same_thread=False)))
        # Only one that has read takes part in the log.
        ours.execute("SELECT count(*) FROM sqlite_master").fetchone()
        held[path] = ours
