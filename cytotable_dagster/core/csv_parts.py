"""CSV files in parts of a few megabytes that end with a record, read one at a time into typed columns.

Fields are separated by commas, records by line ends, and both may be within double quotes: https://www.rfc-editor.org/rfc/rfc4180.
`csv_block` reads what is plain in them; what is not, pyarrow does, and what that would pass over in silence (quotes
that are never closed, bytes that are no text) is looked for before.
"""

import csv
import gzip
import io
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cytotable_dagster.core.errors import SourceFormatError
from cytotable_dagster.core.files import whole_file

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# A part has some hundreds of records, so that columns are worth their while, and fits the processor's cache.
_PART_BYTES_A_COLUMN = 1 << 14
_LEAST_PART, _LARGEST_PART = 1 << 20, 8 << 20
_BLOCK = 1 << 20
_GZIP = b"\x1f\x8b"
_BOM = "\ufeff"
_COMMA, _NEWLINE, _RETURN, _QUOTE = b',\n\r"'


@dataclass(frozen=True)
class Header:
    """The columns of a CSV file, and what about their names was mended; `size` in bytes."""

    names: tuple[str, ...]
    size: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """Some records of a file: `size` bytes from `start`."""

    start: int
    size: int


@dataclass(frozen=True)
class Ragged:
    """A record that has not as many fields as the header: how many lines of its part come before, and its fields."""

    line: int
    fields: int


@dataclass(frozen=True)
class Records:
    """The records of a part as UTF-8, each with a line end, without those that are `ragged`."""

    data: bytes
    ragged: tuple[Ragged, ...]


def plain_file(path: Path, spool: Path) -> Path:
    """The file, or where it is compressed what is in it, as a file in `spool`.

    Raises:
        SourceFormatError: it is no CSV file, by its first bytes, or not whole.
    """
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith(_GZIP):
        spool.mkdir(parents=True, exist_ok=True)
        plain = spool / f"{zlib.crc32(str(path).encode()):08x}-{path.stem}"
        try:
            with whole_file(plain) as temporary, gzip.open(path) as packed, temporary.open("wb") as out:
                shutil.copyfileobj(packed, out, _BLOCK)
        except (OSError, EOFError, zlib.error) as error:
            raise SourceFormatError(f"{path}: not a whole gzip file ({error}); export or fetch it again") from error
        return plain
    if path.suffix == ".gz" and start:
        raise SourceFormatError(f"{path}: not gzip, as its name says (it starts with {start[:16]!r})")
    if b"\0" in start:
        raise SourceFormatError(f"{path}: not a CSV file (it starts with {start[:16]!r}); export it again")
    return path


def read_header(path: Path, encoding: str, where: str) -> Header:
    """The first record of a file as column names, which are made unique; SourceFormatError where there is none."""
    raw = b""
    with path.open("rb") as file:
        while line := file.readline():
            raw += line
            if raw.count(b'"') % 2 == 0:
                break
    try:
        return _header_of(raw, encoding)
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceFormatError(f"{where}: line 1: {error}; pass encoding= or export it again") from error


# The files of thousands of sites have the same header.
@lru_cache(maxsize=16)
def _header_of(raw: bytes, encoding: str) -> Header:
    text = raw.decode(encoding).removeprefix(_BOM)
    found = next(csv.reader(io.StringIO(text, newline="")), [])
    names: dict[str, None] = {}
    notes = []
    taken = set(found)
    for place, field in enumerate(found, start=1):
        name = field.strip()
        if not name:
            name = f"column_{place}"
            notes.append(f"column {place} has no name and is called {name}")
        elif name in names:
            again = name
            name = next(f"{again}_{n}" for n in range(2, len(found) + 2) if f"{again}_{n}" not in taken)
            taken.add(name)
            notes.append(f"column {again} is there twice; the second is called {name}")
        names[name] = None
    return Header(tuple(names), len(raw), tuple(notes))


def part_size(columns: int) -> int:
    """How many bytes of a file with so many columns are read at once."""
    return min(max(_PART_BYTES_A_COLUMN * columns, _LEAST_PART), _LARGEST_PART)


def parts_of(path: Path, header: Header) -> Iterator[Part]:
    """The parts of a file behind its header."""
    size = part_size(len(header.names))
    start, end = header.size, path.stat().st_size
    if end - start <= size:
        # One part, whatever is in it; nothing has to be read to know that.
        if end > start:
            yield Part(start, end - start)
        return
    with path.open("rb") as file:
        # Where nothing is quoted, every line end is a record's.
        ends = _ends_in_quoted if _has_quote(file, start) else _ends_at_lines
        for found in ends(file, start, end, size):
            yield Part(start, found - start)
            start = found


def _has_quote(file: BinaryIO, start: int) -> bool:
    file.seek(start)
    block = bytearray(_BLOCK)
    sizes = iter(lambda: file.readinto(block), 0)  # type: ignore[attr-defined]
    return any(block.find(b'"', 0, size) >= 0 for size in sizes)


def _ends_at_lines(file: BinaryIO, start: int, end: int, size: int) -> Iterator[int]:
    """Ends of parts, each at the first line end behind `size` bytes."""
    while end - start > size:
        file.seek(start + size - 1)
        line = file.readline()
        start += size - 1 + len(line)
        yield start
    if end > start:
        yield end


def _ends_in_quoted(file: BinaryIO, start: int, end: int, size: int) -> Iterator[int]:
    """Ends of parts, each at a record's end within `size` bytes, or within more where a record is longer."""
    file.seek(start)
    held = b""
    while block := file.read(size):
        held += block
        done = _last_record_end(held)
        if done:
            start, held = start + done, held[done:]
            yield start
    if end > start:
        yield end


def read_part(path: Path, part: Part, header: Header, encoding: str, where: str, *, exact: bool = False) -> Records:
    """The records of a part.

    Args:
        exact: look at every record for ragged ones; else `csv_block.read_block` tells where that has to be done.

    Raises:
        SourceFormatError: bytes that are no text in this encoding.
    """
    with path.open("rb") as file:
        file.seek(part.start)
        data = file.read(part.size)
    try:
        # Most is ASCII, which is text in all encodings that have lines.
        data = data if data.isascii() else data.decode(encoding).encode()
    except UnicodeDecodeError as error:
        line = lines_between(path, 0, part.start + error.start) + 1
        raise SourceFormatError(
            f"{where}: line {line}: byte {data[error.start]:#04x} is no {encoding} text; pass encoding= (latin-1?)"
        ) from error
    if not data.endswith(b"\n"):
        data += b"\n"
    return Records(*_without_ragged(data, len(header.names))) if exact else Records(data, ())


def ragged_records(
    path: Path, where: object, parts: Iterable[tuple[Part, Sequence[Ragged]]], width: int
) -> Iterator[tuple[str, str]]:
    """The ragged records of a file's parts: the file's name and the line, and what is wrong with them."""
    known, line = 0, 1
    for part, ragged in parts:
        if ragged:
            known, line = part.start, line + lines_between(path, known, part.start)
        for one in ragged:
            yield f"{where}, line {line + one.line}", f"{one.fields} fields, the header has {width}"


def lines_between(path: Path, start: int, end: int) -> int:
    """How many lines end between two places of a file."""
    count = 0
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (block := file.read(min(end - start, _BLOCK))):
            count, start = count + block.count(b"\n"), start + len(block)
    return count


def texts_of(records: Records, header: Header, columns: Sequence[str]) -> "dict[str, pa.Array]":
    """Columns of records as they are written, whatever is quoted, null where nothing is; none may be ragged."""
    import pyarrow as pa
    import pyarrow.csv as pc

    if not records.data:
        return {name: pa.nulls(0, pa.string()) for name in columns}
    table = pc.read_csv(
        pa.BufferReader(records.data),
        # In one block, and so one array of each column.
        read_options=pc.ReadOptions(use_threads=False, column_names=header.names, block_size=len(records.data) + 1),
        parse_options=pc.ParseOptions(newlines_in_values=True),
        convert_options=pc.ConvertOptions(
            check_utf8=False,
            column_types=dict.fromkeys(columns, pa.string()),
            include_columns=columns,
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    return {name: column.chunk(0) for name, column in zip(columns, table.columns, strict=True)}


def _last_record_end(data: bytes) -> int:
    """Where the last whole record ends, 0 where there is none."""
    if b'"' not in data:
        return data.rfind(b"\n") + 1
    _, ends = _structure(data)
    return int(ends[-1]) + 1 if len(ends) else 0


def _structure(data: bytes) -> "tuple[np.ndarray, np.ndarray]":
    """Positions of commas and of line ends that are not within quotes."""
    import numpy as np

    characters = np.frombuffer(data, np.uint8)
    # Whether the quotes up to a byte are even; a quote within quotes is doubled, and changes nothing.
    outside = np.cumsum(characters == _QUOTE, dtype=np.uint8) % 2 == 0
    return np.flatnonzero((characters == _COMMA) & outside), np.flatnonzero((characters == _NEWLINE) & outside)


def _without_ragged(data: bytes, width: int) -> tuple[bytes, tuple[Ragged, ...]]:
    """Records with exactly `width` fields, and what the others were; blank lines are none."""
    import numpy as np

    commas, ends = _structure(data)
    if not len(ends) or ends[-1] != len(data) - 1:
        # A quote that is never closed swallows the rest.
        tail = int(ends[-1]) + 1 if len(ends) else 0
        kept, found = _without_ragged(data[:tail], width) if tail else (b"", ())
        return kept, (*found, Ragged(data.count(b"\n", 0, tail), 1))
    fields = np.diff(np.searchsorted(commas, ends), prepend=0) + 1
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts
    blank = (lengths == 0) | ((lengths == 1) & (np.frombuffer(data, np.uint8)[starts] == _RETURN))
    good = (fields == width) & ~blank
    if good.all():
        return data, ()
    bad = np.flatnonzero(~good & ~blank)
    ragged = tuple(Ragged(data.count(b"\n", 0, int(starts[i])), int(fields[i])) for i in bad)
    return b"".join(data[starts[i] : ends[i] + 1] for i in np.flatnonzero(good)), ragged
