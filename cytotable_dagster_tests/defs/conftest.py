"""A deployment for the tests of one file; each test has plates of its own names."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack

import dagster as dg
import pytest
import sqlalchemy

from cytotable_dagster.demo.servers import prepare_home
from cytotable_dagster_tests.defs.deployment import CHUNKS, Deployment
from cytotable_dagster_tests.defs.instances import opened


@pytest.fixture(autouse=True, scope="session")
def _commits_wait_for_no_disk() -> Iterator[None]:
    """A run commits four hundred times to databases that need to outlive processes, and no power cut."""

    def wait_not(connection: object, record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", wait_not)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", wait_not)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    home = folder / "home"
    # The instance before the web server: each would make its tables, and one fail.
    prepare_home(home)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DAGSTER_HOME", str(home))
        environment.setenv("CYTOTABLE_CHUNKS_PER_PLATE", str(CHUNKS))
        environment.setenv("CYTOTABLE_LAKE", str(folder / "lake"))
        environment.setenv("CYTOTABLE_SOURCE", str(folder / "plates"))
        environment.setenv("CYTOTABLE_CACHE", str(folder / "cache"))
        environment.setenv("CYTOTABLE_NO_SIGN_REQUEST", "1")
        with opened(dg.DagsterInstance.get()) as instance, ExitStack() as started:
            yield Deployment(folder, instance, started)
