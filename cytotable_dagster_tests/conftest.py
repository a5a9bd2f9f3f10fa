"""What all tests share: the real files, a store for results, and nothing of this machine's credentials."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster_tests.stores.between import Between, between
from cytotable_dagster_tests.stores.servers import S3, Server, running

if TYPE_CHECKING:
    from cytotable_dagster.demo.s3_server import S3Server

BUCKET = "results"
ROOT = Path(__file__).parents[1]
# Where tests wait for servers and for programs in environments of their own.
_WAITING = ("parity", "defs", "browser", "docs", "demo", "clients")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that wait come first, so that what is left at the end is quick files, which two workers share evenly."""
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.is_relative_to(here) and item.path.relative_to(here).parts[0] not in _WAITING)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real files; tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get("CYTOTABLE_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the real files are not here: set CYTOTABLE_TEST_DATA to their folder")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _no_credentials() -> None:
    """No credentials, no configured store, wherever the tests run."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "AZURE_", "STORAGE_EMULATOR_"))]:
        del os.environ[name]
    # Google's library would ask whether this is one of its machines.
    os.environ["NO_GCE_CHECK"] = "true"
    os.environ["CLOUDSDK_CONFIG"] = os.devnull
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


@pytest.fixture(scope="session")
def results_server() -> "Iterator[S3Server]":
    """An S3 server with an empty bucket."""
    pytest.importorskip("moto.server", reason="the S3 server needs the demo's extra: cytotable-dagster[demo]")
    from cytotable_dagster.demo.s3_server import s3_client, s3_server

    with s3_server() as running:
        s3_client(running.endpoint_url).create_bucket(Bucket=BUCKET)
        yield running


@dataclass(frozen=True)
class StoreHere:
    """A store that runs, with an empty bucket, and what stands before it, counts and refuses."""

    provider: str
    server: Server
    passing: Between

    @property
    def options(self) -> dict[str, str]:
        """Options of a client that may write there."""
        return self.server.options(self.passing.endpoint_url)

    def place(self, name: str) -> Destination:
        return destination_of(f"{self.provider}://{BUCKET}/{name}/", Store.checked(self.options))


@pytest.fixture(scope="session")
def stores(request: pytest.FixtureRequest) -> Iterator[Callable[[str], StoreHere]]:
    """Stores by their provider, each started when it is first asked for."""
    found: dict[str, StoreHere] = {}
    with ExitStack() as stack:

        def store(provider: str) -> StoreHere:
            if provider not in found:
                server: Server
                if provider == "s3":
                    server = S3(request.getfixturevalue("results_server").endpoint_url)
                else:
                    server = stack.enter_context(running(provider))
                    server.create_bucket(BUCKET)
                found[provider] = StoreHere(provider, server, stack.enter_context(between(server.endpoint_url)))
            return found[provider]

        yield store


@pytest.fixture
def provider() -> str:
    """Which store; tests of all of them override it."""
    return "s3"


@pytest.fixture
def store_here(stores: Callable[[str], StoreHere], provider: str) -> Iterator[StoreHere]:
    here = stores(provider)
    yield here
    here.passing.clear()


@pytest.fixture
def passing(store_here: StoreHere) -> Between:
    """What stands before the store, counts and refuses."""
    return store_here.passing


@pytest.fixture
def store_options(store_here: StoreHere) -> dict[str, str]:
    """Options of a client that may write there."""
    return store_here.options


@pytest.fixture
def in_store(store_here: StoreHere, tmp_path: Path) -> Destination:
    """A prefix of the test's own."""
    return store_here.place(tmp_path.name)
