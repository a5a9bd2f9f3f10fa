"""What all tests share: the real files, a store for results, and nothing of this machine's credentials."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster_tests.store_between import Between, between

if TYPE_CHECKING:
    from cytotable_dagster.demo.s3_server import S3Server

BUCKET = "results"
ROOT = Path(__file__).parents[1]


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
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
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


@pytest.fixture(scope="session")
def _passing(results_server: "S3Server") -> Iterator[Between]:
    with between(results_server.endpoint_url) as passing:
        yield passing


@pytest.fixture
def passing(_passing: Between) -> Iterator[Between]:
    """What stands before that server, counts and refuses."""
    yield _passing
    _passing.clear()


@pytest.fixture
def store_options(passing: Between) -> dict[str, str]:
    """Options of a client that may write there."""
    return {"endpoint_url": passing.endpoint_url, "aws_access_key_id": "a", "aws_secret_access_key": "b"}


@pytest.fixture
def in_store(store_options: dict[str, str], tmp_path: Path) -> Destination:
    """A prefix of the test's own."""
    return destination_of(f"s3://{BUCKET}/{tmp_path.name}/", store_options)
