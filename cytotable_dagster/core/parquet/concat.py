"""Several Parquet files of one schema as one file, without decoding them.

The encoded row groups are copied as they are; only the footer is made anew, with every file offset shifted by where
the row group now lies: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
The parts are files of our own writing (no page index, no bloom filter, no encryption).
"""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from cytotable_dagster.core.errors import SchemaError
from cytotable_dagster.core.parquet.parts import CLOSING, MAGIC, Part, Piece, footer_like, part_of, read_part
from cytotable_dagster.core.parquet.thrift import SCHEMA
from cytotable_dagster.core.support.pieces import Content, write_pieces

if TYPE_CHECKING:
    import pyarrow as pa

# Of a file of this machine, less than the processor's cache holds; of a store's, worth a request.
_COPY_BYTES, _FAR_BYTES = 1 << 18, 8 << 20


@dataclass(frozen=True)
class Mark:
    """How far a `Concatenation` was: bytes of the file and of row groups' facts, row groups, rows, the first part."""

    at: int
    groups: int
    count: int
    rows: int
    first: tuple[Path | str, Part] | None


class Concatenation:
    """A Parquet file that grows by the row groups of others.

    Args:
        out: a file open for writing, at its start.
        sums: tell the XXH3 of what is appended from files or from memory.
    """

    def __init__(self, out: BinaryIO, *, sums: bool = False) -> None:
        self._out = out
        self._sums = sums
        self._sum = _digest() if sums else None
        self._out.write(MAGIC)
        self._at = len(MAGIC)
        self._first: tuple[Path | str, Part] | None = None
        self._groups = bytearray()
        self._count = self._rows = 0

    def append(self, path: Path, content: Content | None = None) -> Piece:
        """Add the row groups of one more file, or of what would be in it, which is not needed any more after that;
        where they lie.

        Raises:
            SchemaError: its schema is not that of the first.
        """
        if content is not None:
            part = part_of(content.footer[:-CLOSING], content.size)
            self._check_schema(path, part)
            # All but the first bytes of a file.
            write_pieces(self._out, content.data[1:])
            if self._sum is not None:
                for data in content.data[1:]:
                    self._sum.update(data)
        else:
            with path.open("rb") as file:
                part = read_part(path, file)
                self._check_schema(path, part)
                file.seek(len(MAGIC))
                copy_bytes(file, self._out, part.data, self._sum)
        groups, number = part.groups(self._at - len(MAGIC), self._count)
        return self._added(groups, Piece(self._count, number, part.rows, self._at, part.data, 0))

    def append_piece(self, path: Path | str, file: "BinaryIO | pa.NativeFile", part: Part, piece: Piece) -> Piece:
        """Add some of the row groups of a file whose footer was read; where they lie.

        Raises:
            SchemaError: its schema is not that of the first.
        """
        self._check_schema(path, part)
        file.seek(piece.at)
        copy_bytes(file, self._out, piece.size)
        groups = part.groups_of(piece, self._at - piece.at, self._count)
        return self._added(groups, replace(piece, first=self._count, at=self._at))

    def take_up(self, path: Path, part: Part, piece: Piece) -> None:
        """Go on behind row groups that lie in the file already, as `footer_since` told of them.

        Raises:
            SchemaError: their schema is not that of the first.
        """
        self._check_schema(path, part)
        self._added(part.groups(0, self._count)[0], piece)
        self._out.seek(self._at)

    def _added(self, groups: bytes, piece: Piece) -> Piece:
        self._groups += groups
        self._count += piece.groups
        self._at += piece.size
        self._rows += piece.rows
        return piece

    def _check_schema(self, path: Path | str, part: Part) -> None:
        if self._first is None:
            self._first = (path, part)
        elif part.value(SCHEMA) != self._first[1].value(SCHEMA):
            raise SchemaError(f"{path}: its columns or types differ from those of {self._first[0]}")

    @property
    def is_empty(self) -> bool:
        """Whether nothing was appended."""
        return self._first is None

    def mark(self) -> "Mark":
        """How far it is."""
        self._sum = _digest() if self._sums else None
        return Mark(self._at, len(self._groups), self._count, self._rows, self._first)

    def since(self, mark: "Mark") -> Piece:
        """What was appended since the last mark, which this is; with its XXH3, where that is to be told."""
        xxh3 = 0 if self._sum is None else int(self._sum.intdigest())
        counts = self._count - mark.count, self._rows - mark.rows
        return Piece(mark.count, *counts, mark.at, self._at - mark.at, xxh3)

    def footer_since(self, mark: "Mark", metadata: Mapping[str, str]) -> bytes:
        """A footer with these entries of the row groups that were appended since then, as they lie in the file; with
        what closes a file."""
        assert self._first is not None
        piece = self.since(mark)
        groups = bytes(self._groups[mark.groups :])
        return footer_like(self._first[1], piece.rows, groups, piece.groups, metadata)

    def back_to(self, mark: "Mark") -> None:
        """Take back what was appended since; of a file that can be cut."""
        self._at, self._count, self._rows, self._first = mark.at, mark.count, mark.rows, mark.first
        del self._groups[mark.groups :]
        self._out.seek(mark.at)
        self._out.truncate()

    def finish(self, metadata: Mapping[str, str]) -> None:
        """Write the footer, with these entries; of the parts' own only the Arrow schema stays."""
        if self._first is None:
            raise ValueError("nothing was appended, so there is no schema")
        self._out.write(footer_like(self._first[1], self._rows, bytes(self._groups), self._count, metadata))


def data_sum(path: Path) -> tuple[int, int]:
    """How many bytes of encoded data a file has, and their XXH3.

    Raises:
        SchemaError: it is not a whole Parquet file.
    """
    with path.open("rb") as file, Path(os.devnull).open("wb") as nowhere:
        data, digest = read_part(path, file).data, _digest()
        file.seek(len(MAGIC))
        copy_bytes(file, nowhere, data, digest)
        return data, int(digest.intdigest())


def copy_bytes(source: "BinaryIO | pa.NativeFile", out: BinaryIO, count: int, digest: Any = None) -> None:
    """Copy what comes next in `source`, and let a digest take it, if there is one.

    Raises:
        SchemaError: there is less.
    """
    near = isinstance(source, io.BufferedReader)
    # One for all of it: memory that is new to the process takes longer than the copying.
    buffer = memoryview(bytearray(min(count, _COPY_BYTES if near else _FAR_BYTES)))
    while count:
        got = source.readinto(buffer[: min(count, len(buffer))])  # type: ignore[union-attr]
        if not got:
            raise SchemaError("a Parquet file ends before its data do")
        out.write(buffer[:got])
        if digest is not None:
            digest.update(buffer[:got])
        count -= got


def _digest() -> Any:
    import xxhash

    return xxhash.xxh3_64()
