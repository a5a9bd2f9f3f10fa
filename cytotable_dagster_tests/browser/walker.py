"""What a person does in the web UI: opens pages, reads them, clicks what can be clicked, looks at pictures."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium.common.exceptions import JavascriptException, TimeoutException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

SECONDS = 240
_RELOAD_SECONDS = 20
# The page rebuilds itself all the time: what is clicked is found and clicked in one go.
_CLICK = """
const found = [...document.querySelectorAll(arguments[0])]
  .filter(one => one.innerText.trim().startsWith(arguments[1]) && !one.disabled).pop();
if (!found) return false;
found.click();
return true;
"""
_IS_THERE = "return [...document.querySelectorAll('button')].some(b => b.innerText.trim().startsWith(arguments[0]))"
_TEXT = "return document.body.innerText"
# Widths of the pictures of a page's facts, 0 for one that did not come.
_WIDTHS = "return [...document.querySelectorAll('table img')].filter(one => one.complete).map(one => one.naturalWidth)"


@dataclass(frozen=True)
class Walk:
    """A browser on a web UI; screenshots are kept in the folder `pictures`, if there is one."""

    chrome: Chrome
    url: str
    pictures: Path | None

    def go(self, page: str, *texts: str | re.Pattern[str]) -> str:
        """Open a page, and read it once it has all of these texts; it is loaded anew until it has."""
        deadline = time.monotonic() + SECONDS
        while True:
            self.chrome.get(self.url + page)
            try:
                return self.read(*texts, seconds=_RELOAD_SECONDS)
            except TimeoutException:
                if time.monotonic() > deadline:
                    self.keep("not_found")
                    raise AssertionError(f"{page} never shows {texts}: {self._look(_TEXT)}") from None

    def read(self, *texts: str | re.Pattern[str], seconds: float = SECONDS) -> str:
        """The text of the page that is open, once it has all of these."""

        def whole() -> str | None:
            shown = str(self._look(_TEXT))
            return shown if all(re.search(re.escape(t) if isinstance(t, str) else t, shown) for t in texts) else None

        found: str = self._until(whole, f"the page never shows {texts}", seconds)
        return found

    def click(self, text: str, what: str = "button") -> None:
        """Click the last button (or other element) whose text starts so, when it is there and can be clicked."""
        self._until(lambda: self._look(_CLICK, what, text), f"no {what} starts with {text!r}")

    def launch(self, *first: str) -> None:
        """Click buttons, the last of which launches a run; ended once the server has taken it."""
        for text in first:
            self.click(text)
        self._until(lambda: not self._look(_IS_THERE, "Launch"), "the dialog does not close")

    def switch(self) -> None:
        """Turn the page's one switch."""
        self._until(lambda: self.chrome.find_elements(By.CSS_SELECTOR, "input[type=checkbox]"), "no switch")
        self._look("document.querySelector('input[type=checkbox]').click()")

    def type(self, into: str, text: str) -> None:
        """Type into the field that says so while it is empty."""
        found: Any = self._until(
            lambda: self.chrome.find_elements(By.CSS_SELECTOR, f"input[placeholder^='{into}']"), into
        )
        found[-1].send_keys(text)

    def widths(self) -> list[int]:
        """Widths of the pictures among the facts of the page, once there is one that has come."""
        found: list[int] = self._until(lambda: any(self._look(_WIDTHS)) and self._look(_WIDTHS), "no picture comes")
        return found

    def keep(self, name: str) -> None:
        """Keep a screenshot."""
        if self.pictures is not None:
            self.pictures.mkdir(parents=True, exist_ok=True)
            self.chrome.save_screenshot(str(self.pictures / f"{name}.png"))

    def _look(self, script: str, *arguments: str) -> Any:
        return self.chrome.execute_script(script, *arguments)

    def _until(self, found: Callable[[], Any], otherwise: str, seconds: float = SECONDS) -> Any:
        waiting = WebDriverWait(self.chrome, seconds, poll_frequency=0.25, ignored_exceptions=[JavascriptException])
        return waiting.until(lambda _: found(), otherwise)
