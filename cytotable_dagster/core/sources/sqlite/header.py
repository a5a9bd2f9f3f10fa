"""Facts of SQLite's file format that need no compiled code: the header, page geometry, what can be wrong.

Section names refer to https://sqlite.org/fileformat2.html.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cytotable_dagster.core.errors import DamagedSourceError, SourceFormatError

HEADER_SIZE = 100
MAGIC = b"SQLite format 3\x00"
# Section "The Rollback Journal": a journal without these bytes has nothing to roll back.
JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_WAL_HEADER_SIZE = 32
_ENCODINGS = {1: "UTF-8", 2: "UTF-16le", 3: "UTF-16be"}


class NotOrdinary(Exception):
    """A file or table that only SQLite itself should read; `reason` says why, as the end of a sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Geometry:
    """Sizes that every page access depends on, in bytes; `pages` counts pages, numbered from 1."""

    page_size: int
    usable: int
    pages: int

    @property
    def max_local(self) -> int:
        """Longest payload that a table leaf keeps without overflow ("B-tree Pages", X)."""
        return self.usable - 35

    @property
    def min_local(self) -> int:
        """Least of a longer payload that stays on the leaf ("B-tree Pages", M)."""
        return (self.usable - 12) * 32 // 255 - 23


def read_geometry(header: bytes, file_size: int, path: Path) -> Geometry:
    """Check the header ("The Database Header") against the file's size.

    Raises:
        SourceFormatError: not a SQLite file.
        DamagedSourceError: a header that contradicts itself, or a file shorter than it says.
        NotOrdinary: a text encoding or format version that is not read here.
    """
    if not header:
        raise SourceFormatError(f"{path}: the file is empty (0 bytes); fetch it again")
    if header[: len(MAGIC)] != MAGIC[: len(header)]:
        raise SourceFormatError(f"{path}: not a SQLite file (it starts with {header[:16]!r})")
    if len(header) < HEADER_SIZE:
        raise DamagedSourceError(f"{path}: page 1 is cut short at {file_size} bytes; fetch it again")
    page_size = _be(header, 16, 2)
    page_size = 65536 if page_size == 1 else page_size
    usable = page_size - header[20]
    if page_size < 512 or page_size & (page_size - 1) or usable < 480:
        raise _damaged(path, f"a page size of {page_size} with {header[20]} reserved bytes")
    if header[21:24] != b"\x40\x20\x20":
        raise _damaged(path, "payload fractions other than 64, 32, 32")
    if header[18] > 2 or header[19] > 2:
        raise NotOrdinary(f"the file has format version {header[19]}, newer than the known 2")
    if not header[18] or not header[19]:
        raise _damaged(path, "a format version of 0")
    encoding = _be(header, 56, 4)
    if encoding not in _ENCODINGS:
        raise _damaged(path, f"an unknown text encoding, {encoding}")
    if encoding != 1:
        raise NotOrdinary(f"its text is {_ENCODINGS[encoding]}")
    return Geometry(page_size, usable, _page_count(header, file_size, page_size, path))


def _page_count(header: bytes, file_size: int, page_size: int, path: Path) -> int:
    """Section "In-header database size": it counts only if two change counters agree."""
    whole = file_size // page_size
    said = _be(header, 28, 4)
    if not said or header[24:28] != header[92:96]:
        if file_size % page_size:
            raise DamagedSourceError(f"{path}: page {whole + 1} is cut short; fetch it again")
        return whole
    if said > whole:
        raise DamagedSourceError(
            f"{path}: cut short, {file_size:,} bytes of {said * page_size:,} by its header; copy or upload it again"
        )
    return said


def check_whole(path: Path) -> None:
    """Refuse a file that is shorter than its header says.

    Raises:
        DamagedSourceError: it is, or its header is damaged.
    """
    with suppress(NotOrdinary, OSError), path.open("rb") as file:
        read_geometry(file.read(HEADER_SIZE), path.stat().st_size, path)


def log_beside(path: Path) -> Path | None:
    """The file beside it that a SQLite file's newest content lies in: a write-ahead log with frames, or a journal to
    roll back."""
    wal = path.with_name(f"{path.name}-wal")
    if wal.is_file() and wal.stat().st_size > _WAL_HEADER_SIZE:
        return wal
    journal = path.with_name(f"{path.name}-journal")
    if journal.is_file():
        with journal.open("rb") as file:
            if file.read(len(JOURNAL_MAGIC)) == JOURNAL_MAGIC:
                return journal
    return None


def refuse_pending_changes(path: Path) -> None:
    """Refuse a file whose newest content lies beside it.

    Raises:
        NotOrdinary: it does.
    """
    log = log_beside(path)
    if log is not None:
        what = "write-ahead log with frames" if log.name.endswith("-wal") else "hot rollback journal"
        raise NotOrdinary(f"a {what} lies beside it")


def _be(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _damaged(path: Path, what: str) -> DamagedSourceError:
    return DamagedSourceError(f"{path}: page 1: the header tells {what}; fetch it again")
