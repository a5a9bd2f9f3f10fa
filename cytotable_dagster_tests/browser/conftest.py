"""One demo and one browser for all walks. Screenshots of the pages are kept in the folder that the environment variable
CYTOTABLE_SCREENSHOTS names, and nowhere where it names none."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("selenium")
pytest.importorskip("moto")
pytest.importorskip("scipy")

from selenium.webdriver import Chrome

from cytotable_dagster.demo.plate import BUCKET, DemoPlate, write_plate
from cytotable_dagster.demo.run import add_plate, settings
from cytotable_dagster.demo.s3_server import S3Server, s3_client, s3_server, upload_tree
from cytotable_dagster.demo.servers import dagster_servers, prepare_home
from cytotable_dagster_tests.browser.chromium import NoBrowserError, chromium
from cytotable_dagster_tests.browser.walker import Walk


@dataclass(frozen=True)
class Demo:
    """`lake` is the folder of the results of its plate."""

    url: str
    plate: DemoPlate
    lake: Path
    store: S3Server

    def upload(self, plate: str, content: bytes) -> None:
        """Put a file into the bucket, where the sensor looks for a plate of this name."""
        key = self.plate.sqlite_key.replace(self.plate.plate, plate)
        s3_client(self.store.endpoint_url).put_object(Bucket=BUCKET, Key=key, Body=content, ACL="public-read")


@pytest.fixture(scope="package")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    try:
        with chromium(tmp_path_factory.mktemp("browser")) as found:
            yield found
    except NoBrowserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="package")
def demo(chrome: Chrome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Asks for the browser first: without one nothing is started."""
    folder = tmp_path_factory.mktemp("demo")
    plate = write_plate(folder / "s3", wells=4, image_size=128)
    prepare_home(folder / "home")
    with s3_server() as store:
        upload_tree(store, plate.folder, BUCKET)
        add_plate(folder / "home", plate.plate, f"s3://{BUCKET}/{plate.sqlite_key}")
        with dagster_servers(folder / "home", settings(folder, store)) as servers:
            yield Demo(servers.url, plate, folder / "lake" / plate.plate, store)


@pytest.fixture(scope="package")
def walk(chrome: Chrome, demo: Demo) -> Walk:
    kept = os.environ.get("CYTOTABLE_SCREENSHOTS")
    return Walk(chrome, demo.url, Path(kept) if kept else None)
