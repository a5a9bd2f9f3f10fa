"""Commits of steps to SQLite."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy

from cytotable_dagster.defs.commits import commits_that_do_not_wait

NORMAL = 1


def waits(path: Path) -> int:
    """How new connections to a database commit, as SQLite numbers it."""
    engine = sqlalchemy.create_engine(f"sqlite:///{path}", poolclass=sqlalchemy.NullPool)
    with engine.connect() as link:
        return int(link.execute(sqlalchemy.text("PRAGMA synchronous")).scalar_one())


@pytest.mark.parametrize(("journal", "expected"), [("WAL", True), ("DELETE", False)])
def test_only_commits_that_a_log_keeps_whole_wait_for_no_disk(tmp_path: Path, journal: str, expected: bool) -> None:
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as link:
        link.execute(f"PRAGMA journal_mode={journal}")
        link.execute("CREATE TABLE some (number)")
    before = waits(path)
    with commits_that_do_not_wait():
        assert (waits(path) == NORMAL) is expected
    assert waits(path) == before != NORMAL


def test_a_log_is_copied_into_its_database_once_and_not_for_each_connection(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    log = tmp_path / "some.db-wal"
    with closing(sqlite3.connect(path)) as link:
        link.execute("PRAGMA journal_mode=WAL")
        link.execute("CREATE TABLE some (number)")
    engine = sqlalchemy.create_engine(f"sqlite:///{path}", poolclass=sqlalchemy.NullPool)
    with commits_that_do_not_wait():
        for number in range(3):
            with engine.begin() as begun:
                begun.execute(sqlalchemy.text(f"INSERT INTO some VALUES ({number})"))
            assert log.stat().st_size, "the last connection that is closed removes it"
    assert not log.exists()
    with closing(sqlite3.connect(path)) as link:
        assert link.execute("SELECT number FROM some").fetchall() == [(0,), (1,), (2,)]
