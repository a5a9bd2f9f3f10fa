"""CSV files in parts of a few megabytes that end with a record, read one at a time into typed columns.

Fields are separated by commas, records by line ends, and both may be within double quotes: https://www.rfc-editor.org/rfc/rfc4180.
Values are parsed by pyarrow; what it would pass over in silence (quotes that are never closed, bytes that are no text)
is looked for before.
"""

import csv
import gzip
import io
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import SourceFormatError
from cytotable_dagster.core.files import whole_file

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

PART_BYTES = 8 << 20
# As pandas and R write what is missing.
MISSING = ("", "nan", "NaN", "NAN", "Nan", "-nan", "-NaN", "null", "NULL", "Null")
_HEXADECIMAL = re.compile(rb"""(^|[,"\s])-?0x""", re.IGNORECASE)
_GZIP = b"\x1f\x8b"
_BOM = "\ufeff"
_COMMA, _NEWLINE, _RETURN, _QUOTE = b',\n\r"'


@dataclass(frozen=True)
class Header:
    """The columns of a CSV file, and what about their names was mended; `size` in bytes, `lines` of the file."""

    names: tuple[str, ...]
    size: int
    lines: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """Some records of a file: `size` bytes from `start`, the first on line `line` (from 1)."""

    start: int
    size: int
    line: int


@dataclass(frozen=True)
class Ragged:
    """A record that has not as many fields as the header: its line in the file, and how many."""

    line: int
    fields: int


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
                shutil.copyfileobj(packed, out, PART_BYTES)
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
        text = raw.decode(encoding).removeprefix(_BOM)
        found = next(csv.reader(io.StringIO(text, newline="")), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceFormatError(f"{where}: line 1: {error}; pass encoding= or export it again") from error
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
    return Header(tuple(names), len(raw), raw.count(b"\n"), tuple(notes))


def parts_of(path: Path, header: Header, size: int = PART_BYTES) -> Iterator[Part]:
    """The parts of a file behind its header."""
    rest = path.stat().st_size - header.size
    if rest <= size:
        # One part, whatever is in it; nothing has to be read to know that.
        if rest:
            yield Part(header.size, rest, header.lines + 1)
        return
    with path.open("rb") as file:
        file.seek(header.size)
        start, line, held = header.size, header.lines + 1, b""
        while True:
            block = file.read(size)
            held += block
            end = len(held) if not block else _last_record_end(held)
            if end:
                yield Part(start, end, line)
                line += held.count(b"\n", 0, end)
                start, held = start + end, held[end:]
            if not block:
                return


def read_part(
    path: Path, part: Part, header: Header, encoding: str, where: str, *, exact: bool = False
) -> tuple[bytes, tuple[Ragged, ...]]:
    """The records of a part as UTF-8, without those that are ragged, which are told.

    Args:
        exact: look at every record; else `parse` fails where it should have been done.

    Raises:
        SourceFormatError: bytes that are no text in this encoding.
    """
    with path.open("rb") as file:
        file.seek(part.start)
        data = file.read(part.size)
    data = _as_utf8(data, part, encoding, where)
    if not data.endswith(b"\n"):
        data += b"\n"
    return _without_ragged(data, len(header.names), part.line, exact=exact)


def parse(data: bytes, header: Header, types: "Mapping[str, pa.DataType]") -> "dict[str, pa.Array]":
    """Columns of records, those that have a type here.

    Raises:
        pyarrow.ArrowInvalid: a value is not of its type, or a record is ragged.
    """
    import pyarrow as pa
    import pyarrow.csv as pc

    if not data:
        return {name: pa.nulls(0, type) for name, type in types.items()}
    # The short look costs a twentieth of the exact one.
    if (b"0x" in data or b"0X" in data) and _HEXADECIMAL.search(data) and pa.int64() in types.values():
        raise pa.ArrowInvalid("pyarrow would take 0x1F for a whole number")
    table = pc.read_csv(
        pa.BufferReader(data),
        # In one block, and so one array of each column.
        read_options=pc.ReadOptions(use_threads=False, column_names=header.names, block_size=len(data) + 1),
        parse_options=pc.ParseOptions(newlines_in_values=b'"' in data),
        convert_options=pc.ConvertOptions(
            check_utf8=False,
            column_types=types,
            include_columns=list(types),
            null_values=MISSING,
            strings_can_be_null=True,
        ),
    )
    return {name: column.chunk(0) for name, column in zip(types, table.columns, strict=True)}


def _as_utf8(data: bytes, part: Part, encoding: str, where: str) -> bytes:
    if data.isascii():
        return data
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = part.line + data.count(b"\n", 0, error.start)
        raise SourceFormatError(
            f"{where}: line {line}: byte {data[error.start]:#04x} is no {encoding} text; pass encoding= (latin-1?)"
        ) from error
    return text.encode()


def first_records(data: bytes, size: int) -> bytes:
    """The whole records in the first bytes, or all where there is none."""
    return data[: _last_record_end(data[:size])] or data


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


def _without_ragged(data: bytes, width: int, line: int, *, exact: bool) -> tuple[bytes, tuple[Ragged, ...]]:
    """Records with exactly `width` fields, and what the others were; blank lines are none.

    Args:
        exact: False leaves records without quotes as they are, for pyarrow refuses ragged ones.
    """
    import numpy as np

    if not exact and b'"' not in data:
        return data, ()
    commas, ends = _structure(data)
    if not len(ends) or ends[-1] != len(data) - 1:
        # A quote that is never closed swallows the rest.
        tail = int(ends[-1]) + 1 if len(ends) else 0
        kept, found = _without_ragged(data[:tail], width, line, exact=True) if tail else (b"", ())
        return kept, (*found, Ragged(line + data.count(b"\n", 0, tail), 1))
    fields = np.diff(np.searchsorted(commas, ends), prepend=0) + 1
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts
    blank = (lengths == 0) | ((lengths == 1) & (np.frombuffer(data, np.uint8)[starts] == _RETURN))
    good = (fields == width) & ~blank
    if good.all():
        return data, ()
    bad = np.flatnonzero(~good & ~blank)
    ragged = tuple(Ragged(line + data.count(b"\n", 0, int(starts[i])), int(fields[i])) for i in bad)
    return b"".join(data[starts[i] : ends[i] + 1] for i in np.flatnonzero(good)), ragged
