"""An object of a store that is read as a file, from anywhere in it, a span at a time."""

import io
import os
from typing import TYPE_CHECKING

from cytotable_dagster.core.storage.objects import Client, content

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Ranges(io.RawIOBase):
    """One version of an object; an error where it is replaced meanwhile."""

    def __init__(self, client: Client, uri: str) -> None:
        self._client = client
        self._remote = client.head(uri)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._remote.size}[whence] + offset
        return self._at

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        room = memoryview(buffer).cast("B")
        end = min(self._at + len(room), self._remote.size)
        if end <= self._at:
            return 0
        read = content(self._client, self._remote.uri, (self._at, end), etag=self._remote.etag)
        room[: len(read)] = read
        self._at += len(read)
        return len(read)
