"""What separates the fields of a CSV file and what its decimals are written with: commas and points, or what
spreadsheets and other countries have in their place.

The compiled reader knows commas and points alone. It is given other files with their bytes exchanged, one for one, so
that all places stay what they are; text is taken from the bytes as they were.
"""

import csv
import re
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import OptionError, SourceFormatError
from cytotable_dagster.core.support.arguments import text_in

if TYPE_CHECKING:
    import pyarrow as pa

COMMA, POINT = ",", "."
# What is looked for, the first where several fit alike.
DELIMITERS = (COMMA, ";", "\t", "|")
_WORDS = {"comma": COMMA, "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "point": POINT}
_NAMES = {COMMA: "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
_NO_DELIMITER = {*string.ascii_letters, *string.digits, *'"\r\n\0+-._#'}
# A byte that no number has, for what must not be taken for one.
_INERT = "#"
# Names that a header has by itself alone, in the first row or, of objects side by side, the second.
_KNOWN = {
    *("imagenumber", "objectnumber", "tablenumber", "object id", "number_object_number"),
    *("image", "cells", "cytoplasm", "nuclei"),
}
# Records by which delimiters are compared, and bytes by which decimals are.
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?", re.ASCII)
_RECORDS, SAMPLE = 50, 1 << 15
_SAID = re.compile(rb"sep=(.)", re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """What separates fields, and what stands before decimals; of a file without any, `decimal` is empty until it is
    known from others."""

    delimiter: str = COMMA
    decimal: str = POINT

    def __str__(self) -> str:
        named = _NAMES.get(self.delimiter, repr(self.delimiter))
        return f"fields separated by {named}" + (", decimals by commas" if self.decimal == COMMA else "")

    def for_records(self, data: bytes) -> bytes:
        """Data in which commas separate fields, for those who look where records and fields end; the same again of
        what that gives."""
        return data if self.delimiter == COMMA else data.translate(self._exchanged)

    def for_numbers(self, data: bytes) -> bytes:
        """The same, with points before decimals."""
        return data if self.delimiter == COMMA else data.translate(self._plain)

    def numbers_in(self, texts: "pa.Array") -> "pa.Array":
        """Texts as they are where they are read as numbers: with points before decimals, and none elsewhere."""
        import pyarrow as pa

        buffers = texts.buffers()
        if self.decimal != COMMA or buffers[2] is None:
            return texts
        data = pa.py_buffer(buffers[2].to_pybytes().translate(self._pointed))
        return pa.Array.from_buffers(texts.type, len(texts), [*buffers[:2], data], texts.null_count, texts.offset)

    @cached_property
    def _exchanged(self) -> bytes:
        return bytes.maketrans((self.delimiter + COMMA).encode(), (COMMA + self.delimiter).encode())

    @cached_property
    def _pointed(self) -> bytes:
        other = COMMA if self.decimal != COMMA else POINT
        return bytes.maketrans(f"{other}{self.decimal or POINT}".encode(), f"{_INERT}{POINT}".encode())

    @cached_property
    def _plain(self) -> bytes:
        return bytes(ord(COMMA) if byte == ord(self.delimiter) else to for byte, to in enumerate(self._pointed))


@dataclass(frozen=True)
class CsvFormat:
    """How CSV files are to be read: the encoding; what separates fields and decimals, None where each file shows it;
    what folders of sites are called, None where they show it; and whether sites with equal image tables are several."""

    encoding: str = "utf-8"
    delimiter: str | None = None
    decimal: str | None = None
    site_pattern: str | None = None
    keep_equal: bool = False


UTF8 = CsvFormat()


def checked_separators(delimiter: str | None, decimal: str | None) -> tuple[str | None, str | None]:
    """Both as characters, given as such or by name (`tab`, `semicolon`).

    Raises:
        OptionError: fields or decimals cannot be separated so.
    """
    delimiter, decimal = (
        None if given is None else _WORDS.get(text_in(option, given, "'tab'").lower(), given)
        for option, given in (("delimiter", delimiter), ("decimal", decimal))
    )
    if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii() or delimiter in _NO_DELIMITER):
        raise OptionError(
            f"delimiter={delimiter!r}: one character is expected that no number or name has, such as ';' or 'tab'"
        )
    if decimal not in (None, POINT, COMMA):
        raise OptionError(f"decimal={decimal!r} is not known; there are: '.', ','")
    if delimiter == decimal == COMMA:
        raise OptionError("decimal=',' and delimiter=',': fields could not be told from decimals; name another")
    return delimiter, decimal


def dialect_of(line: bytes, following: Callable[[], bytes], asked: CsvFormat, where: str) -> Dialect:
    """The dialect of a file.

    Args:
        line: its first line that is not blank.
        following: gives some of what comes after it.
        where: the file, for the message.

    Raises:
        SourceFormatError: commas separate its fields, and decimal commas are asked for.
    """
    delimiter = asked.delimiter or _delimiter_of(line, following)
    if delimiter != COMMA:
        return Dialect(delimiter, asked.decimal or _decimal_in(following(), delimiter))
    if asked.decimal == COMMA and COMMA.encode() in line:
        raise SourceFormatError(f"{where}: commas separate its fields, so none is a decimal comma; leave out decimal=")
    return Dialect()


def separator_said(line: bytes) -> str | None:
    """The delimiter that a first line of spreadsheets says (`sep=;`), None where a line is anything else."""
    said = _SAID.fullmatch(line.rstrip(b"\r\n"))
    found = said[1].decode("latin-1") if said else '"'
    return None if found in _NO_DELIMITER else found


def _delimiter_of(line: bytes, following: Callable[[], bytes]) -> str:
    there = [one for one in DELIMITERS if one.encode() in line]
    # Nearly all files have commas alone, and are thousands.
    if there in ([], [COMMA]):
        return COMMA
    return _named(line, tuple(there)) or _counted([line, *_lines(following())], [COMMA, *there])


@lru_cache(maxsize=16)
def _named(line: bytes, delimiters: tuple[str, ...]) -> str | None:
    """The delimiter that gives most names that are known, if any does."""
    text = line.decode("utf-8-sig", "replace")
    known = {one: sum(field.strip().lower() in _KNOWN for field in _fields(text, one)) for one in delimiters}
    best = max(delimiters, key=lambda one: known[one])
    return best if known[best] else None


def _counted(lines: list[bytes], delimiters: Iterable[str]) -> str:
    """The delimiter by which most records have as many fields as the first; of such, that by which most of the fields
    are numbers, or that which gives most of them."""

    def fitting(delimiter: str) -> tuple[int, float, int]:
        first, *others = (_fields(line.decode("latin-1"), delimiter) for line in lines)
        fields = [field for record in others for field in record]
        numbers = sum(_NUMBER.fullmatch(field) is not None for field in fields)
        return sum(len(record) == len(first) for record in others), numbers / max(len(fields), 1), len(first)

    return max(dict.fromkeys(delimiters), key=fitting)


def _fields(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _lines(data: bytes) -> list[bytes]:
    """Some whole lines that are not blank."""
    lines = data.splitlines(keepends=True)
    if lines and len(data) >= SAMPLE and len(lines) > 1:
        del lines[-1]
    return [line for line in lines if line.strip(b"\r\n")][:_RECORDS]


def _decimal_in(data: bytes, delimiter: str) -> str:
    """What stands before decimals in most of the fields that are numbers with such; empty where none is."""
    commas, points = (len(found.findall(data)) for found in _numbers_between(delimiter))
    return "" if commas == points == 0 else COMMA if commas > points else POINT


@lru_cache
def _numbers_between(delimiter: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    edge = rf"[{re.escape(delimiter)}\"\r\n]"
    commas, points = (rf"(?<={edge})[+-]?\d*{mark}\d+(?:[eE][+-]?\d+)?(?={edge})" for mark in (COMMA, r"\."))
    return re.compile(commas.encode()), re.compile(points.encode())
