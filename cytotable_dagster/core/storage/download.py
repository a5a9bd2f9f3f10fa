"""An object of a store into a file, in ranges that come at once and go on where they were broken off.

Every request is for the version that was asked for. What is waited for is bytes: none for 45 s, or less than a kilobyte
a second over a minute, is the end of it.
"""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import DownloadError, SourceChangedError
from cytotable_dagster.core.storage.client import Remote, place_of, remote_of
from cytotable_dagster.core.storage.store_errors import errors_of, senseless

if TYPE_CHECKING:
    from cloudpathlib import S3Client

RANGE_BYTES = 8 << 20
_AT_ONCE = 10
_BLOCK = 256 << 10
# Seconds without a byte, and the rate that is too low over so many seconds.
_SILENT, _SLOW_SECONDS, _SLOW_BYTES = 45.0, 60.0, 60_000
# Requests for one range, and the seconds between them.
_ATTEMPTS, _BETWEEN = 6, 0.5


def download(client: "S3Client", remote: Remote, path: Path) -> Remote:
    """Fill a file with an object; what the store said of it meanwhile.

    Raises:
        SourceChangedError: it is another version by now.
        DownloadError: it does not come; see above. What came is of no use.
        SourceNotFoundError, SourceAccessError: see `store_errors.errors_of`.
        OSError: the file cannot be written.
    """
    transfer = _Transfer(client, remote, path)
    ranges = range(0, remote.size, RANGE_BYTES) or range(1)
    with path.open("wb") as file:
        file.truncate(remote.size)
    for start in ranges:
        transfer.waiting.put((start, min(start + RANGE_BYTES, remote.size)))
    # Daemons, for one that waits for a store that has gone silent is left to itself.
    for _ in range(min(_AT_ONCE, len(ranges))):
        threading.Thread(target=transfer.work, daemon=True).start()
    try:
        for _ in ranges:
            transfer.wait_for_one()
    finally:
        transfer.over.set()
    return transfer.said or remote


@dataclass
class _Transfer:
    client: "S3Client"
    remote: Remote
    path: Path
    waiting: "SimpleQueue[tuple[int, int]]" = field(default_factory=SimpleQueue)
    ended: "SimpleQueue[BaseException | None]" = field(default_factory=SimpleQueue)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    arrived: int = 0
    said: Remote | None = None

    def wait_for_one(self) -> None:
        """Wait until a range is there; raise what it ended with."""
        seen, since = self.arrived, time.monotonic()
        marks = [(since, seen)]
        while True:
            try:
                error = self.ended.get(timeout=1)
            except Empty:
                now = time.monotonic()
                if self.arrived > seen:
                    seen, since = self.arrived, now
                marks.append((now, seen))
                before = next((mark for mark in reversed(marks) if now - mark[0] >= _SLOW_SECONDS), None)
                if now - since >= _SILENT:
                    raise DownloadError(
                        f"{self.remote.uri}: the store sent nothing for {_SILENT:.0f} s; check endpoint and network"
                    ) from None
                if before and seen - before[1] < _SLOW_BYTES:
                    raise DownloadError(
                        f"{self.remote.uri}: the store sends less than a kilobyte a second; try again"
                    ) from None
                continue
            if error is not None:
                raise error
            return

    def work(self) -> None:
        """Fetch ranges for as long as there are any."""
        try:
            with self.path.open("r+b", buffering=0) as file:
                while not self.over.is_set():
                    try:
                        start, end = self.waiting.get_nowait()
                    except Empty:
                        return
                    self._fetch(file.fileno(), start, end)
                    self.ended.put(None)
        except BaseException as error:
            self.ended.put(error)

    def _fetch(self, file: int, start: int, end: int) -> None:
        at = start
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                for block in self._blocks(at, end):
                    if self.over.is_set():
                        return
                    os.pwrite(file, block, at)
                    at += len(block)
                    with self.lock:
                        self.arrived += len(block)
                if at == end:
                    return
                raise DownloadError(f"{self.remote.uri}: {at - start} of {end - start} bytes arrived; try again")
            except DownloadError:
                if attempt == _ATTEMPTS or self.over.wait(_BETWEEN * attempt):
                    raise

    def _blocks(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes of the object from `start` up to `end`."""
        whole = (start, end) == (0, self.remote.size)
        with errors_of(self.remote.uri):
            answer = self._answer(start, end, whole)
            self._check(answer, start, end, whole)
            body, left = answer["Body"], end - start
            try:
                while left:
                    block = body.read(min(_BLOCK, left))
                    if not block:
                        return
                    left -= len(block)
                    yield block
            finally:
                body.close()

    def _answer(self, start: int, end: int, whole: bool) -> Any:
        bucket, key = place_of(self.remote.uri)
        span = {"ChecksumMode": "ENABLED"} if whole else {"Range": f"bytes={start}-{end - 1}"}
        arguments = {"Bucket": bucket, "Key": key, "IfMatch": f'"{self.remote.etag}"', **span}
        try:
            return self.client.client.get_object(**{**arguments, **self.client.boto3_dl_extra_args})
        except (ValueError, LookupError, AttributeError) as error:
            raise senseless(self.remote.uri, error) from None

    def _check(self, answer: Any, start: int, end: int, whole: bool) -> None:
        """Make sure that the answer is of this version and range."""
        uri = self.remote.uri
        if whole:
            said = remote_of(uri, answer, answer.get("ContentLength"))
            same = (said.etag, said.size) == (self.remote.etag, self.remote.size)
            self.said = said
        else:
            same = str(answer.get("ETag")).strip('"') == self.remote.etag
            if same and answer.get("ContentRange") != f"bytes {start}-{end - 1}/{self.remote.size}":
                raise senseless(uri, f"bytes {start} to {end - 1} were asked for, and it sends others")
        if not same:
            answer["Body"].close()
            raise SourceChangedError(f"{uri}: was replaced while it was downloaded; try again")
