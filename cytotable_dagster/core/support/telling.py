"""What work tells of itself while it goes on: steps, counted, to whoever watches; and remarks, which are logged.

Whoever starts a conversion watches it; the rooms below tell, and need not be handed on by whom they are watched. What
is told is told by the thread that was asked to work, or by one that it lent its watcher: never by two at once.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Called with a step, how much of it is done, and how much there is: bytes of one in BYTES, of others what they count.
Progress = Callable[[str, int, int], None]

DOWNLOADING = "downloading"
COPYING = "copying"
# Steps that are counted in bytes, and what has become of those that are done.
BYTES = {DOWNLOADING: "downloaded", COPYING: "copied"}
LOOKING_THROUGH = "tables looked through"

_log = logging.getLogger("cytotable_dagster")
_here = threading.local()


@contextmanager
def watched(progress: Progress | None) -> Iterator[None]:
    """While the block lasts, what this thread works on is told to `progress`; None leaves that as it is."""
    before = _watcher()
    _here.watcher = progress or before
    try:
        yield
    finally:
        _here.watcher = before


def tell(step: str, done: int, total: int) -> None:
    """Tell how far a step is."""
    if watcher := _watcher():
        watcher(step, done, total)


def remark(text: str, *facts: object) -> None:
    """Tell what cannot be counted, as `logging` takes it."""
    _log.info(text, *facts)


class Together:
    """What several threads tell at once, as one: of each step the sums, to the watcher of the thread that made this,
    never by two of them at once."""

    def __init__(self) -> None:
        self._watcher = _watcher()
        self._lock = threading.Lock()
        self._sums: dict[str, tuple[int, int]] = {}

    @contextmanager
    def lent(self) -> Iterator[None]:
        """While the block lasts, what this thread works on is one of the things that are told together."""
        told: dict[str, tuple[int, int]] = {}

        def one(step: str, done: int, total: int) -> None:
            with self._lock:
                before, of = told.get(step, (0, 0))
                all_done, all_of = self._sums.get(step, (0, 0))
                told[step] = (done, total)
                self._sums[step] = (all_done + done - before, all_of + total - of)
                self._tell(step, *self._sums[step])

        with watched(one):
            yield

    def tell(self, step: str, done: int, total: int) -> None:
        """Tell how far a step is that one thread alone counts."""
        with self._lock:
            self._tell(step, done, total)

    def _tell(self, step: str, done: int, total: int) -> None:
        if self._watcher:
            self._watcher(step, done, total)


class Tally:
    """A step that several threads get on with; told to the watcher of the thread that began it."""

    def __init__(self, step: str, total: int) -> None:
        self._step = step
        self._total = total
        self._done = 0
        self._lock = threading.Lock()
        self._watcher = _watcher()
        if self._watcher and total:
            self._watcher(step, 0, total)

    def add(self, more: int) -> None:
        """So much more is done; less than none, where it has to be done again."""
        with self._lock:
            self._done += more
            if self._watcher:
                self._watcher(self._step, self._done, self._total)


def _watcher() -> Progress | None:
    return getattr(_here, "watcher", None)
