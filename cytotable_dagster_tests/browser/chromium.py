"""Chromium, driven by selenium."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver

SIZE = (1440, 900)
_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    # No connection to anywhere but the page's server.
    *("--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


class NoBrowserError(RuntimeError):
    """Chromium or its driver is not on this machine."""


@contextmanager
def chromium(folder: Path, size: tuple[int, int] = SIZE) -> Iterator[webdriver.Chrome]:
    """A browser whose pages have exactly this width and height, in pixels, and that keeps what it keeps in `folder`.

    Raises:
        NoBrowserError: there is none.
    """
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        raise NoBrowserError("no browser here: install chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (*_OPTIONS, f"--user-data-dir={folder}"):
        options.add_argument(argument)
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        chrome.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False},
        )
        yield chrome
    finally:
        chrome.quit()
