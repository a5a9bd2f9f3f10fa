"""Pictures of the web UI for README and docs, of a demo that is started for them: `make screenshots` writes them anew."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from cytotable_dagster.demo.servers import HOST, end_group, free_port
from cytotable_dagster_tests.browser.chromium import chromium
from cytotable_dagster_tests.docs.blocks import ROOT

FOLDER = ROOT / "docs" / "screenshots"
# Name of the picture -> its page, and the height of it. `{plate}` is the demo's. A graph fills what room it has: as high
# as it is wide, its names are legible.
PAGES = {
    "plate": ("/assets/single_cells?view=partitions&partition={plate}", 900),
    "graph": ("/assets/single_cells?view=lineage&lineageScope=upstream&lineageDepth=5", 1400),
}
_WIDTH = 1440
_MADE = (
    """{assetNodeOrError(assetKey: {path: ["%s"]}) {... on AssetNode {assetMaterializations(limit: 1) {partition}}}}"""
)
_RUNNING = "{runsOrError(filter: {statuses: [QUEUED, STARTING, STARTED]}) {... on Runs {results {id}}}}"
_SECONDS = 900
# What a page has to say, for it to be whole: all of it, colours too, and how many pictures are not there yet.
_LOOK = """
const waiting = [...document.images].filter(image => !image.complete || image.naturalWidth === 0).length;
const spinners = document.querySelectorAll('[class*=pinner]').length;
return [document.body.innerHTML, waiting + spinners];
"""
# Whether it is hidden; for the time after, and now where it was not.
_HIDE_BAR = """
const bar = [...document.querySelectorAll('button')].find(one => one.innerText.trim() === 'Hide navigation');
if (bar) bar.click();
return !bar && document.body.innerText.length > 100;
"""


@contextmanager
def demo(folder: Path) -> Iterator[str]:
    """The demo, its plate converted; gives the address of its web UI.

    Raises:
        RuntimeError: it ended, or took too long; the message has what it said last.
    """
    port, log = free_port(), folder / "demo.log"
    program = Path(sys.executable).with_name("cytotable-dagster")
    with log.open("w") as said:
        process = subprocess.Popen(
            [program, "demo", "--port", str(port), "--folder", str(folder / "demo")],
            stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
    url = f"http://{HOST}:{port}"
    try:
        _until(lambda: _is_made(url, "single_cells_dataset"), process, log)
        _until(lambda: not _ask(url, _RUNNING)["runsOrError"]["results"], process, log)
        yield url
    finally:
        end_group(process)


def _until(condition: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            if condition():
                return
        time.sleep(1)
    raise RuntimeError(f"the demo's plate was not converted: {' / '.join(log.read_text().splitlines()[-3:])}")


def _ask(url: str, query: str) -> Any:
    request = urllib.request.Request(
        f"{url}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())["data"]


def _made(url: str, asset: str) -> list[dict[str, str]]:
    return _ask(url, _MADE % asset)["assetNodeOrError"].get("assetMaterializations", [])


def _is_made(url: str, asset: str) -> bool:
    return bool(_made(url, asset))


def picture(chrome: webdriver.Chrome, url: str, file: Path) -> None:
    """A page, without the bar at its side, as it is when two looks, some seconds apart, see the same and nothing is waited
    for."""
    chrome.get(url)
    WebDriverWait(chrome, 120).until(lambda page: page.execute_script(_HIDE_BAR))
    seen: list[Any] = []

    def is_still(_: webdriver.Chrome) -> bool:
        seen.append(chrome.execute_script(_LOOK))
        return len(seen) > 2 and seen[-1] == seen[-2] and seen[-1][1] == 0

    WebDriverWait(chrome, 120, poll_frequency=3).until(is_still)
    file.parent.mkdir(parents=True, exist_ok=True)
    chrome.save_screenshot(str(file))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m cytotable_dagster_tests.docs.screenshots", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PAGES), default=list(PAGES), help="pictures, by name")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cytotable-") as text:
        folder = Path(text)
        with demo(folder) as url:
            plate = _made(url, "single_cells")[0]["partition"]
            for name in chosen.only:
                page, height = PAGES[name]
                with chromium(folder / name, (_WIDTH, height)) as chrome:
                    picture(chrome, url + page.format(plate=plate), FOLDER / f"{name}.png")
                print(FOLDER / f"{name}.png", flush=True)


if __name__ == "__main__":
    main()
