"""Opening CSV files: what is compressed unpacked, and the first record as column names."""

import codecs
import csv
import gzip
import io
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from cytotable_dagster.core.errors import OptionError, SourceFormatError
from cytotable_dagster.core.sources.csv.cuts import Scanner, lines_between, lines_in
from cytotable_dagster.core.sources.csv.dialect import SAMPLE, CsvFormat, Dialect, dialect_of, separator_said
from cytotable_dagster.core.support.files import whole_file

_BLOCK = 1 << 20
_GZIP = b"\x1f\x8b"
_LONGEST = 16 << 20
# Notes on names of one file.
_TOLD = 10
_BOM = "\ufeff"


@dataclass(frozen=True)
class Header:
    """The columns of a CSV file, what about their names was mended, and how its fields are written; `size` in bytes,
    with what is before them."""

    names: tuple[str, ...]
    size: int
    notes: tuple[str, ...] = ()
    dialect: Dialect = field(default_factory=Dialect)


def check_encoding(encoding: str) -> None:
    """Refuse what is no encoding of text, or one whose commas, quotes and line ends are other bytes than ASCII's.

    Raises:
        OptionError: it is neither.
    """
    ascii = bytes(range(128))
    try:
        same = ascii.decode(encoding) == ascii.decode("ascii")
    except (LookupError, UnicodeError, ValueError, TypeError):
        same = False
    if not same:
        raise OptionError(
            f"encoding {encoding!r}: none that has ASCII in it, such as utf-8, latin-1 or cp1252; "
            "files in another, such as utf-16, have to be written anew in one of these"
        )


def plain_file(path: Path, spool: Path) -> Path:
    """The file, or where it is compressed what is in it, as a file in `spool`.

    Raises:
        SourceFormatError: it is no CSV file, by its first bytes, or not whole.
        OSError: a disk failed, or is full.
    """
    with path.open("rb") as file:
        start = file.read(4096)
    plain = path
    if start.startswith(_GZIP):
        spool.mkdir(parents=True, exist_ok=True)
        plain = spool / f"{zlib.crc32(str(path).encode()):08x}-{path.stem}"
        with whole_file(plain) as temporary, gzip.open(path) as packed, temporary.open("wb") as out:
            while block := _unpacked(packed, path):
                out.write(block)
        with plain.open("rb") as file:
            start = file.read(4096)
    elif path.suffix == ".gz" and start:
        raise SourceFormatError(f"{path}: not gzip, as its name says (it starts with {start[:16]!r})")
    if b"\0" in start:
        line = lines_in(start[: start.index(b"\0")]) + 1
        raise SourceFormatError(
            f"{path}: line {line}: a byte that is zero, so no CSV file (it starts with {start[:16]!r}); export it again"
        )
    return plain


def _unpacked(packed: gzip.GzipFile, path: Path) -> bytes:
    try:
        return packed.read(_BLOCK)
    except (OSError, EOFError, zlib.error) as error:
        # What a disk says has a number; what the format says has none.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise SourceFormatError(f"{path}: not a whole gzip file ({error}); export or fetch it again") from error


def read_header(path: Path, format: CsvFormat, where: str) -> Header:
    """The first record of a file as column names, which are made unique; no names where all of the file is blank.

    Raises:
        SourceFormatError: as `first_record`.
    """
    record = first_record(path, format, where)
    names, notes = _unique(record.fields)
    return Header(names, record.end, notes, record.dialect)


@dataclass(frozen=True)
class Record:
    """The fields of a record, where it ends, and how they are written."""

    fields: tuple[str, ...]
    end: int
    dialect: Dialect


def first_record(path: Path, format: CsvFormat, where: str, start: int = 0) -> Record:
    """The first record from `start` that is not blank; nothing where all are blank. A line that says what separates
    fields is none.

    Raises:
        SourceFormatError: it is no text in this encoding, or has a quoted field of several lines; or as `dialect_of`.
    """
    raw, end, dialect = _first_raw(path, format, where, start)
    said = separator_said(raw) if start == 0 else None
    if said is not None:
        return first_record(path, replace(format, delimiter=format.delimiter or said), where, end)
    try:
        return Record(_fields_of(raw, format.encoding, dialect.delimiter), end, dialect)
    except (UnicodeDecodeError, csv.Error) as error:
        line = lines_between(path, 0, end - len(raw)) + 1
        raise SourceFormatError(f"{where}: line {line}: {error}; pass encoding= or export it again") from error


def _first_raw(path: Path, format: CsvFormat, where: str, start: int) -> tuple[bytes, int, Dialect]:
    """That record as it is written, where it ends, and how its fields are written."""
    import numpy as np

    with path.open("rb") as file:
        file.seek(start)
        end = start
        while line := file.readline(_LONGEST):
            if end == 0 and codecs.lookup(format.encoding).name.startswith("utf-8"):
                line = line.removeprefix(codecs.BOM_UTF8)
            end = file.tell()
            # What is neither quoted nor ends otherwise is one record, which thousands of files need not look up.
            body = line.removesuffix(b"\n").removesuffix(b"\r")
            if body and b'"' not in body and b"\r" not in body and len(line) < _LONGEST:
                return line, end, _dialect(line, file, format, where)
            dialect = _dialect(line, file, format, where)
            scanner = Scanner(dialect)
            ends = scanner.take(line)
            filled = np.flatnonzero(ends[:, 1])
            if len(filled):
                first = int(filled[0])
                at = int(ends[first - 1, 0]) if first else 0
                record = line[at : int(ends[first, 0])]
                end -= len(line) - at - len(record)
            elif scanner.has_begun:
                record = line[int(ends[-1, 0]) if len(ends) else 0 :]
            else:
                continue
            whole = len(filled) or scanner.open_quote is None
            if whole and len(record) < _LONGEST and not lines_in(record.rstrip(b"\r\n")):
                return record, end, dialect
            wrong = "names of more than 16 MB" if len(record) >= _LONGEST else "a quoted name that does not end on it"
            line_number = lines_between(path, 0, end - len(record)) + 1
            raise SourceFormatError(f"{where}: line {line_number}: {wrong}; mend its quotes, or export it again")
    return b"", end, Dialect()


def _dialect(line: bytes, file: BinaryIO, format: CsvFormat, where: str) -> Dialect:
    """How fields are written, by a line and what is read of the file behind it; a blank line tells nothing."""
    first, _, rest = line.lstrip(b"\r\n").partition(b"\r")
    if not first.rstrip(b"\n"):
        return Dialect()
    place = file.tell()

    def following() -> bytes:
        file.seek(place)
        return (rest + file.read(SAMPLE))[:SAMPLE]

    return dialect_of(first, following, format, where)


@lru_cache(maxsize=16)
def _fields_of(raw: bytes, encoding: str, delimiter: str) -> tuple[str, ...]:
    text = raw.decode(encoding).removeprefix(_BOM)
    return tuple(next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), ()))


# The files of thousands of sites have the same header.
@lru_cache(maxsize=16)
def _unique(fields: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Fields as names, and what was mended."""
    given = [field.strip() or f"column_{place}" for place, field in enumerate(fields, start=1)]
    notes = [f"column {place} has no name and is called {name}" for place, (name, field) in
             enumerate(zip(given, fields, strict=True), start=1) if not field.strip()]  # fmt: skip
    taken, last = set(given), Counter[str]()
    names: dict[str, None] = {}
    for name in given:
        unique = name
        while unique in names or (unique != name and unique in taken):
            last[name] += 1
            unique = f"{name}_{last[name] + 1}"
        if unique != name:
            notes.append(f"column {name} is there twice; the second is called {unique}")
        names[unique] = None
    more = len(notes) - _TOLD
    return tuple(names), (*notes[:_TOLD], *([f"so are {more} more columns"] if more > 0 else []))
