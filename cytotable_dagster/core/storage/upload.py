"""An object of a store that is written as a file: it goes up in parts while it grows, and appears when it is whole."""

import hashlib
import io
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import CytoTableError, UploadError
from cytotable_dagster.core.storage.objects import Client

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from _typeshed import ReadableBuffer

# Bytes of the first parts. Later ones are larger, so that the 10,000 parts that an object may have are a terabyte.
PART_BYTES = 16 << 20
_PARTS_OF_A_SIZE = 2000
_MOST_PARTS = 10_000
# Parts that go up at once, for all files of a destination: with a part that is being filled for each file, what an
# upload takes of memory.
IN_FLIGHT = 4


def part_bytes(number: int) -> int:
    """Size of a part, the first being 1."""
    return PART_BYTES << ((number - 1) // _PARTS_OF_A_SIZE)


@dataclass(frozen=True)
class Sender:
    """What sends the parts of all files of a destination: a client, and its threads."""

    client: Client
    pool: Executor
    room: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(IN_FLIGHT))


class Upload(io.RawIOBase):
    """A file that is only written to. An upload of this object that a killed process left is gone on with: what would
    be sent is compared by number, size and MD5 with the parts that are there, and those that are equal are not sent.

    Closing it waits until everything is in the store; `publish` then makes the object of it, `abort` forgets it.
    """

    def __init__(self, sender: Sender, uri: str) -> None:
        self._sender = sender
        self._uri = uri
        self._at = 0
        # A file, for what is sent of one in a call is a block of it, which the time for a call to send is for.
        self._filling = io.BytesIO()
        self._mark: str | None = None
        self._there: Mapping[int, tuple[int, str]] = {}
        self._parts: list[Future[str]] = []

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: "ReadableBuffer", /) -> int:
        """Take all of `data`; a part that is full goes up.

        Raises:
            CytoTableError: an earlier part could not be sent.
        """
        view = memoryview(data).cast("B")
        taken = 0
        while taken < len(view):
            full = part_bytes(len(self._parts) + 1)
            block = view[taken : taken + full - self._filling.tell()]
            self._filling.write(block)
            taken += len(block)
            if self._filling.tell() == full:
                self._send()
        self._at += taken
        return taken

    def close(self) -> None:
        """Wait until all parts are in the store. What is smaller than one is sent when it is published."""
        if self.closed:
            return
        if self._parts and self._filling.tell():
            self._send()
        for part in self._parts:
            part.result()
        super().close()

    def publish(self, *, only_if_new: bool = False) -> None:
        """Make the object of what was written, in place of one that is there.

        Args:
            only_if_new: an object that is there is an error instead; for stores that know conditions.

        Raises:
            DestinationExistsError: it is there.
        """
        self.close()
        client = self._sender.client
        if self._mark is None:
            client.put(self._uri, self._filling, only_if="" if only_if_new else None)
            return
        client.complete(self._uri, self._mark, [part.result() for part in self._parts], only_if_new=only_if_new)
        self._mark = None

    def abort(self) -> None:
        """Forget what was written, in the store too where it can be reached."""
        for part in self._parts:
            part.cancel()
        # A part that arrived afterwards would stay, and cost.
        wait(self._parts)
        super().close()
        if self._mark is not None:
            with suppress(CytoTableError):
                self._sender.client.abandon(self._uri, self._mark)

    def __del__(self) -> None:
        """Nothing: one that is neither published nor aborted is that of a process that ends."""

    def _send(self) -> None:
        number, body = len(self._parts) + 1, self._filling
        if number > _MOST_PARTS:
            raise UploadError(f"{self._uri}: larger than an object may be, {self._at:,} bytes; use a dataset")
        if self._mark is None:
            self._mark = self._begun() or self._sender.client.begin(self._uri)
        for part in self._parts:
            if part.done():
                part.result()
        self._filling = io.BytesIO()
        self._sender.room.acquire()
        self._parts.append(self._sender.pool.submit(self._send_part, self._mark, number, body))

    def _send_part(self, mark: str, number: int, body: io.BytesIO) -> str:
        with self._leaving_room():
            size, there = self._there.get(number, (None, ""))
            content = body.getbuffer()
            if size == content.nbytes and hashlib.md5(content, usedforsecurity=False).hexdigest() == there:
                return there
            return self._sender.client.send(self._uri, mark, number, body)

    @contextmanager
    def _leaving_room(self) -> "Iterator[None]":
        try:
            yield
        finally:
            self._sender.room.release()

    def _begun(self) -> str | None:
        """The mark of an upload that was begun and not ended, if any; its parts are kept in mind."""
        begun = self._sender.client.begun(self._uri)
        if begun is None:
            return None
        self._there = begun.parts
        return begun.mark
