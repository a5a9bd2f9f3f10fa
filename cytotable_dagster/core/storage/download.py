"""An object of a store into a file, in ranges that come at once and go on where they were broken off.

Every request is for the version that was asked for. What is waited for is bytes: none for 45 s, or less than a kilobyte
a second over a minute, is the end of it.
"""

import io
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

from cytotable_dagster.core.errors import DownloadError, SourceChangedError
from cytotable_dagster.core.storage.objects import Client, Remote
from cytotable_dagster.core.support.patience import waited_for
from cytotable_dagster.core.support.telling import Tally

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

T = TypeVar("T")

RANGE_BYTES = 8 << 20
RANGES_AT_ONCE = 10
# The last ranges of a large object are this small, so that few bytes are to be compared and read after the last one.
_LAST_BYTES = 2 << 20
# Seconds without a byte, and the rate that is too low over so many seconds.
_SILENT, _SLOW_SECONDS, _SLOW_BYTES = 45.0, 60.0, 60_000
# Requests for one range, and the seconds between them.
_ATTEMPTS, _BETWEEN = 6, 0.5


class Front:
    """A file of so many bytes that is read while it comes, in any order: how much is there from its beginning on."""

    def __init__(self, path: Path, size: int) -> None:
        self.size = size
        self._path = path
        self._changed = threading.Condition()
        self._ends: dict[int, int] = {}
        self._there = 0
        self._over = False

    def came(self, start: int, end: int) -> None:
        """These bytes are there."""
        with self._changed:
            self._ends[start] = end
            while self._there in self._ends:
                self._there = self._ends.pop(self._there)
            self._changed.notify_all()

    def close(self) -> None:
        """No more comes; whoever waits for more gets an EOFError."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def beyond(self, count: int) -> int:
        """How many bytes are there from the beginning on, when they are more than `count`; EOFError as above."""
        with self._changed:
            self._changed.wait_for(lambda: self._there > count or self._over)
            if self._there <= count:
                raise EOFError
            return self._there

    def opened(self) -> BinaryIO:
        """The file, whose bytes are waited for."""
        return cast(BinaryIO, _Coming(self))

    def read(self, at: int, room: memoryview) -> int:
        """Fill `room` with the bytes from `at` on, as far as the file has any, when they are there; how many."""
        count = min(len(room), self.size - at)
        with self._changed:
            self._changed.wait_for(lambda: self._there >= at + count or self._over)
            if self._there < at + count:
                raise EOFError
        with self._path.open("rb", buffering=0) as file:
            return os.preadv(file.fileno(), [room[:count]], at)


class _Coming(io.RawIOBase):
    def __init__(self, front: Front) -> None:
        self._front, self._at = front, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        count = self._front.read(self._at, memoryview(buffer).cast("B"))
        self._at += count
        return count


class Watch:
    """Work of several threads that is waited for as long as bytes arrive, see above. Each thing that ends, or the error
    with which it does, is put into `ended`; those at work look whether it is `over`."""

    def __init__(self, uri: str, tally: Tally) -> None:
        self.ended: SimpleQueue[BaseException | None] = SimpleQueue()
        self.over = threading.Event()
        self._uri, self._tally = uri, tally
        self._lock = threading.Lock()
        self._arrived = self._told = 0

    def arrived(self, count: int) -> None:
        """So many bytes came."""
        with self._lock:
            self._arrived += count

    def wait_for(self, count: int) -> None:
        """Wait until so many things have ended; raise what one ended with. After that it is over."""
        try:
            for _ in range(count):
                self._wait_for_one()
        except BaseException:
            self._tally.add(-self._told)
            raise
        finally:
            self.over.set()

    def _wait_for_one(self) -> None:
        seen, since = self._arrived, time.monotonic()
        marks = [(since, seen)]
        while True:
            self._tell()
            try:
                error = self.ended.get(timeout=1)
            except Empty:
                now = time.monotonic()
                if self._arrived > seen:
                    seen, since = self._arrived, now
                marks.append((now, seen))
                before = next((mark for mark in reversed(marks) if now - mark[0] >= _SLOW_SECONDS), None)
                if now - since >= _SILENT:
                    raise DownloadError(
                        f"{self._uri}: the store sent nothing for {_SILENT:.0f} s; check endpoint and network"
                    ) from None
                if before and seen - before[1] < _SLOW_BYTES:
                    raise DownloadError(
                        f"{self._uri}: the store sends less than a kilobyte a second; try again"
                    ) from None
                continue
            if error is not None:
                raise error
            self._tell()
            return

    def _tell(self) -> None:
        """Count what has arrived since it was last counted."""
        more = self._arrived - self._told
        self._told += more
        if more:
            self._tally.add(more)


def download(
    client: Client,
    remote: Remote,
    path: Path,
    tally: Tally,
    at_once: int | None = None,
    front: Front | None = None,
) -> Remote:
    """Fill a file with an object; what the store said of it meanwhile.

    Args:
        tally: of the bytes that arrive.
        at_once: ranges, at most; None is `RANGES_AT_ONCE`.
        front: is told of those that are there.

    Raises:
        SourceChangedError: it is another version by now.
        DownloadError: it does not come; see above. What came is of no use.
        SourceNotFoundError, SourceAccessError: see `objects.Client`.
        OSError: the file cannot be written.
    """
    transfer = _Transfer(client, remote, path, Watch(remote.uri, tally), front)
    ranges = _ranges(remote.size)
    with path.open("wb") as file:
        file.truncate(remote.size)
    for span in ranges:
        transfer.waiting.put(span)
    # Daemons, for one that waits for a store that has gone silent is left to itself.
    for _ in range(min(at_once or RANGES_AT_ONCE, len(ranges))):
        threading.Thread(target=transfer.work, daemon=True).start()
    transfer.watch.wait_for(len(ranges))
    return transfer.said or remote


def _ranges(size: int) -> list[tuple[int, int]]:
    """Begin and end of the ranges of an object, in the order in which they are asked for; one of an empty object."""
    least = _LAST_BYTES if size > RANGES_AT_ONCE * RANGE_BYTES else RANGE_BYTES
    found, at = [], 0
    while at < size:
        share = max((size - at) // (2 * RANGES_AT_ONCE), least)
        found.append((at, min(at + share, at + RANGE_BYTES, size)))
        at = found[-1][1]
    return found or [(0, 0)]


def whole(client: Client, remote: Remote, over: threading.Event) -> tuple[Remote, bytes]:
    """What the store says of an object, and its content, which is asked for in one request; raises as `download`.

    Args:
        over: says that it is not wanted any more.
    """

    def read() -> tuple[Remote, bytes]:
        if (small := client.small(remote)) is not None:
            return remote, small
        with client.read(remote.uri, etag=remote.etag) as body:
            _check(body.said, remote)
            content = b"".join(body.blocks)
        _check_length(remote, len(content), remote.size)
        return body.said, content

    return _repeated(read, over)


@dataclass
class _Transfer:
    client: Client
    remote: Remote
    path: Path
    watch: Watch
    front: Front | None
    waiting: "SimpleQueue[tuple[int, int]]" = field(default_factory=SimpleQueue)
    said: Remote | None = None

    def work(self) -> None:
        """Fetch ranges for as long as there are any."""
        waited_for()
        try:
            with self.path.open("r+b", buffering=0) as file:
                while not self.watch.over.is_set():
                    try:
                        start, end = self.waiting.get_nowait()
                    except Empty:
                        return
                    self._fetch(file.fileno(), start, end)
                    if self.front:
                        self.front.came(start, end)
                    self.watch.ended.put(None)
        except BaseException as error:
            self.watch.ended.put(error)

    def _fetch(self, file: int, start: int, end: int) -> None:
        at = start

        def go_on() -> None:
            nonlocal at
            span = None if (at, end) == (0, self.remote.size) else (at, end)
            with self.client.read(self.remote.uri, span, etag=self.remote.etag) as body:
                _check(body.said, self.remote)
                if span is None:
                    self.said = body.said
                for block in body.blocks:
                    if self.watch.over.is_set():
                        raise _OverError
                    os.pwrite(file, block, at)
                    at += len(block)
                    self.watch.arrived(len(block))
            _check_length(self.remote, at - start, end - start)

        _repeated(go_on, self.watch.over)


class _OverError(Exception):
    """Nobody waits for it any more."""


def _repeated(request: Callable[[], T], over: threading.Event) -> T:
    """What a request gives, which is made again where it fails."""
    for attempt in range(1, _ATTEMPTS):
        with suppress(DownloadError):
            return request()
        if over.wait(_BETWEEN * attempt):
            raise _OverError
    return request()


def _check(said: Remote, remote: Remote) -> None:
    """Make sure that what comes is of this version."""
    if (said.etag, said.size) != (remote.etag, remote.size):
        raise SourceChangedError(f"{remote.uri}: was replaced while it was downloaded; try again")


def _check_length(remote: Remote, arrived: int, wanted: int) -> None:
    if arrived != wanted:
        raise DownloadError(f"{remote.uri}: {arrived} of {wanted} bytes arrived; try again")
