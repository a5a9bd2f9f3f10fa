"""A plate on an S3 server, converted by clicking in the web UI, its rows and its source read from the page."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster.demo.run import add_plate, settings

selenium = pytest.importorskip("selenium")
pytest.importorskip("moto")
pytest.importorskip("scipy")

from selenium import webdriver
from selenium.common.exceptions import JavascriptException, TimeoutException
from selenium.webdriver.support.ui import WebDriverWait

from cytotable_dagster.demo.plate import BUCKET, DemoPlate, write_plate
from cytotable_dagster.demo.s3_server import s3_server, upload_tree
from cytotable_dagster.demo.servers import dagster_servers, prepare_home

SECONDS = 300
RELOAD_SECONDS = 15
# The page rebuilds itself all the time: a button is found and clicked in one go.
CLICK = """
const wanted = arguments[0];
const found = [...document.querySelectorAll('button')]
  .filter(b => b.innerText.trim().startsWith(wanted) && !b.disabled).pop();
if (!found) return false;
found.click();
return true;
"""


FIND = "return [...document.querySelectorAll('button')].some(b => b.innerText.trim().startsWith(arguments[0]))"


@dataclass(frozen=True)
class Demo:
    url: str
    plate: DemoPlate
    lake: Path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("no browser here: install chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--window-size=1500,1200",
        f"--user-data-dir={tmp_path_factory.mktemp('browser')}",
    ):
        options.add_argument(argument)
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


@pytest.fixture(scope="module")
def demo(browser: webdriver.Chrome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Asks for the browser first: without one nothing is started."""
    folder = tmp_path_factory.mktemp("demo")
    plate = write_plate(folder / "s3", wells=4, image_size=128)
    prepare_home(folder / "home")
    with s3_server() as store:
        upload_tree(store, plate.folder, BUCKET)
        add_plate(folder / "home", plate.plate, f"s3://{BUCKET}/{plate.sqlite_key}")
        with dagster_servers(folder / "home", settings(folder, store)) as servers:
            yield Demo(servers.url, plate, folder / "lake" / plate.plate)


def click(browser: webdriver.Chrome, text: str) -> None:
    """Click the button whose text starts so, when it is there and can be clicked."""
    WebDriverWait(browser, SECONDS).until(
        lambda page: page.execute_script(CLICK, text), f"no button starts with {text!r}"
    )


def wait_until_gone(browser: webdriver.Chrome, text: str) -> None:
    """Wait until no button starts so: the dialog closes when the server has taken the run."""
    WebDriverWait(browser, SECONDS).until_not(lambda page: page.execute_script(FIND, text))


def page_with(browser: webdriver.Chrome, url: str, *texts: str) -> str:
    """The text of the page at an address once it holds all of these; it is loaded anew until it does."""

    def whole(page: webdriver.Chrome) -> str | None:
        shown = page.execute_script("return document.body.innerText")
        return shown if all(text in shown for text in texts) else None

    for _ in range(SECONDS // RELOAD_SECONDS):
        browser.get(url)
        try:
            return str(WebDriverWait(browser, RELOAD_SECONDS, ignored_exceptions=[JavascriptException]).until(whole))
        except TimeoutException:
            continue
    pytest.fail(f"{url} never shows {texts}")


def test_a_plate_is_materialized_by_clicking_and_its_rows_and_source_are_on_the_page(
    browser: webdriver.Chrome, demo: Demo
) -> None:
    browser.get(f"{demo.url}/locations/cytotable_dagster.definitions/jobs/convert_plate")
    click(browser, "Materialize")
    # Dagster asks, as chunks are assets of their own that nothing has made yet; the run makes them.
    click(browser, "Confirm")
    click(browser, "All")
    click(browser, "Launch 1 run")
    wait_until_gone(browser, "Launch")

    page = f"{demo.url}/assets/single_cells?view=partitions&partition={demo.plate.plate}"
    shown = page_with(browser, page, "Materialized", demo.plate.sqlite_key)

    rows = pq.read_metadata(demo.lake / "single_cells.parquet").num_rows
    assert rows == demo.plate.counts["Cytoplasm"] > 0
    assert f"s3://{BUCKET}/{demo.plate.sqlite_key}" in shown
    assert str(rows) in shown.split()
