"""CSV files in parts of a few megabytes that end with a record, read one at a time.

Fields are separated by commas, or what the header's dialect has for them, records by line ends, and both may be within
double quotes, as Python's csv module has it: https://docs.python.org/3/library/csv.html, and `csv_records`. Blank lines
are no records. A record that has not as many fields as the header is ragged: it is left out and told.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cytotable_dagster.core.errors import SourceFormatError
from cytotable_dagster.core.sources.csv.cuts import Scanner, lines_between, lines_in, never_closed
from cytotable_dagster.core.sources.csv.header import Header

if TYPE_CHECKING:
    import numpy as np

# A part has some hundreds of records, so that columns are worth their while, and fits the processor's cache.
_PART_BYTES_A_COLUMN = 1 << 14
_LEAST_PART, _LARGEST_PART = 1 << 20, 8 << 20
_BLOCK = 1 << 20
# A record that is longer is damage: a quote that is closed by chance, far away.
_LONGEST_RECORD = 256 << 20
# Ragged records of a file that are told one by one.
_TOLD = 10


@dataclass(frozen=True)
class Part:
    """Some records of a file: `size` bytes from `start`."""

    start: int
    size: int


@dataclass(frozen=True)
class Ragged:
    """A record that has not as many fields as the header: how many lines of its part come before, how many it has
    itself, and its fields."""

    line: int
    lines: int
    fields: int


@dataclass(frozen=True)
class Records:
    """The records of a part as UTF-8, each with a line end, without those that are ragged: `left_out` of them, of
    which `ragged` are the first."""

    data: bytes
    left_out: int = 0
    ragged: tuple[Ragged, ...] = ()


def part_size(columns: int) -> int:
    """How many bytes of a file with so many columns are read at once."""
    return min(max(_PART_BYTES_A_COLUMN * columns, _LEAST_PART), _LARGEST_PART)


def parts_of(path: Path, header: Header, where: str) -> Iterator[Part]:
    """The parts of a file behind its header.

    Raises:
        SourceFormatError: a quote is never closed, or what it quotes is longer than 256 MB.
    """
    size = part_size(len(header.names))
    start, end = header.size, path.stat().st_size
    if end - start <= size:
        # One part, whatever is in it; nothing has to be read to know that.
        if end > start:
            yield Part(start, end - start)
        return
    with path.open("rb") as file:
        if not _has_quote(file, start):
            # Every line end is a record's.
            for found in _ends_at_lines(file, start, end, size):
                yield Part(start, found - start)
                start = found
        for found in _ends_of_records(path, file, header, start, end, where):
            yield Part(start, found - start)
            start = found


def _has_quote(file: BinaryIO, start: int) -> bool:
    file.seek(start)
    block = bytearray(_BLOCK)
    sizes = iter(lambda: file.readinto(block), 0)  # type: ignore[attr-defined]
    return any(block.find(b'"', 0, size) >= 0 for size in sizes)


def _ends_at_lines(file: BinaryIO, start: int, end: int, size: int) -> Iterator[int]:
    """Ends of parts, each at the first LF behind `size` bytes, as long as there is one near."""
    while start < end:
        file.seek(start + size - 1)
        start += size - 1 + len(line := file.readline(size))
        if not line.endswith(b"\n") and start < end:
            return
        yield min(start, end)


def _ends_of_records(path: Path, file: BinaryIO, header: Header, start: int, end: int, where: str) -> Iterator[int]:
    """Ends of parts, each at the last end of a record within a part's size, or within more where a record is longer."""
    size = part_size(len(header.names))
    file.seek(start)
    scanner, at, last = Scanner(header.dialect), start, start
    while block := file.read(size):
        if block.endswith(b"\r"):
            block += file.read(1)
        found = scanner.take(block)
        if len(found):
            last = at + int(found[-1, 0])
            yield last
        at += len(block)
        if at - last > _LONGEST_RECORD:
            line = lines_between(path, 0, last) + 1
            raise SourceFormatError(f"{where}: line {line}: a record of more than 256 MB; mend its quotes")
    if scanner.open_quote is not None:
        raise never_closed(where, lines_between(path, 0, start + scanner.open_quote) + 1)
    if end > last:
        yield end


def read_part(path: Path, part: Part, header: Header, encoding: str, where: str, *, exact: bool = False) -> Records:
    """The records of a part.

    Args:
        exact: look at every record for ragged ones; else `block.read_block` tells where that has to be done.

    Raises:
        SourceFormatError: bytes that are no text in this encoding; where it is `exact`, a quote that is never closed.
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
    if not exact:
        return Records(data)
    scanner = Scanner(header.dialect)
    ends = scanner.take(data)
    if scanner.open_quote is not None:
        raise never_closed(where, lines_between(path, 0, part.start) + lines_in(data[: scanner.open_quote]) + 1)
    return _without_ragged(data, ends, len(header.names))


def count_records(path: Path, header: Header, encoding: str, where: str) -> int:
    """How many records a file has behind its header, of whatever length; raises what `read_part` does."""
    count = 0
    for part in parts_of(path, header, where):
        records = read_part(path, part, header, encoding, where, exact=True)
        count += records.left_out + int((Scanner(header.dialect).take(records.data)[:, 1] > 0).sum())
    return count


def _without_ragged(data: bytes, ends: "np.ndarray", width: int) -> Records:
    """Records with exactly `width` fields, and what the others were."""
    import numpy as np

    stops, fields = ends[:, 0], ends[:, 1]
    bad = np.flatnonzero((fields != width) & (fields > 0))
    if not len(bad):
        return Records(data)
    starts = np.concatenate([[0], stops[:-1]])
    told = []
    line, before = 0, 0
    for place in bad[:_TOLD].tolist():
        record = data[starts[place] : stops[place]]
        line, before = line + lines_in(data[before : starts[place]]), int(starts[place])
        told.append(Ragged(line, lines_in(record), int(fields[place])))
    # Runs of records that stay, from behind one that is left out to the next.
    cuts = zip([0, *stops[bad].tolist()], [*starts[bad].tolist(), len(data)], strict=True)
    return Records(b"".join(data[first:last] for first, last in cuts), len(bad), tuple(told))


def ragged_records(
    path: Path, where: str, parts: Iterable[tuple[Part, int, Sequence[Ragged]]], width: int
) -> Iterator[tuple[str, str]]:
    """The ragged records of a file's parts, with how many each part has: the file's name and the line, and what is
    wrong with them; from a number on, how many more there are."""
    known, line, told, total = 0, 1, 0, 0
    for part, left_out, ragged in parts:
        total += left_out
        if ragged and told < _TOLD:
            known, line = part.start, line + lines_between(path, known, part.start)
            for one in ragged[: _TOLD - told]:
                first, last = line + one.line, line + one.line + one.lines - 1
                place = f"line {first}" if last <= first else f"lines {first} to {last}"
                yield f"{where}, {place}", f"{one.fields} fields, the header has {width}"
                told += 1
    if total > told:
        yield where, f"{total - told} more records have not {width} fields"
