"""Bytes that lie in pieces here and there in memory, and are written as if they lay together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from cytotable_dagster.core.support.machine_errors import full_disk_named

# What is shorter is written with what comes next, in blocks of this size: system calls, and pages of the page cache,
# for pieces of kilobytes cost more than to copy them.
_BLOCK = 1 << 20

Bytes = bytes | memoryview


@dataclass(frozen=True)
class Content:
    """What would be in a file: its data in pieces, and what closes it."""

    data: Sequence[Bytes]
    footer: bytes

    @property
    def size(self) -> int:
        return sum(map(len, self.data)) + len(self.footer)

    def to_bytes(self) -> bytes:
        return b"".join([*self.data, self.footer])


def write_pieces(out: BinaryIO, pieces: Iterable[Bytes]) -> int:
    """Write pieces of bytes one behind the other; how many bytes they are."""
    written = waiting = 0
    short: list[Bytes] = []
    with full_disk_named(getattr(out, "name", None)):
        for piece in pieces:
            if len(piece) >= _BLOCK or waiting + len(piece) > _BLOCK:
                out.write(b"".join(short))
                short, waiting = [], 0
            if len(piece) >= _BLOCK:
                out.write(piece)
            else:
                short.append(piece)
                waiting += len(piece)
            written += len(piece)
        out.write(b"".join(short))
    return written
