"""CSV files without headers, as MySQL loads them, made into such as all others are.

What MySQL reads (https://dev.mysql.com/doc/refman/8.0/en/load-data.html): fields are separated by commas and may be
within double quotes; a backslash begins an escape; `\\N`, and `NULL` without quotes, are no value. Each table becomes a
file with a header, and one of all objects side by side a file for each of them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.sources.csv.combined import Split, piece_of_whole, take_apart
from cytotable_dagster.core.sources.csv.cuts import Scanner, never_closed
from cytotable_dagster.core.sources.csv.dialect import CsvFormat, Dialect
from cytotable_dagster.core.sources.csv.exports import Export
from cytotable_dagster.core.sources.csv.header import plain_file, read_header
from cytotable_dagster.core.sources.csv.setup import Declared

# A field, quoted or not, and what ends it.
_FIELD = re.compile(
    rb'(?:"(?P<quoted>(?:[^"\\]|\\.|"")*)"|(?P<plain>(?!")(?:[^,\\\r\n]|\\.)*))(?P<end>,|\r?\n|\r|\Z)',
    re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"Z": b"\x1a", b"0": b""}
_NO_VALUE = (rb"\N", b"NULL")
_SPECIAL = re.compile(rb'[,"\r\n]')
_BLOCK = 8 << 20
# Records of a file that are told one by one.
_TOLD = 10


def with_headers(exports: Sequence[Export], preset: Preset, format: CsvFormat, folder: Path) -> Sequence[Split]:
    """The exports with a file for each compartment, made in `folder`.

    Raises:
        SourceFormatError: a file is no CSV file, or a quote in it is never closed.
    """
    return [_made(export, preset, format, folder / f"setup-{number}") for number, export in enumerate(exports)]


def _made(export: Export, preset: Preset, format: CsvFormat, folder: Path) -> Split:
    folder.mkdir(parents=True, exist_ok=True)
    split = Split(replace(export, files={}, declared={}))
    by_table: dict[Declared, list[str]] = {}
    for compartment, table in export.declared.items():
        by_table.setdefault(table, []).append(compartment)
    for table, compartments in by_table.items():
        file = folder / f"{compartments[0]}.csv"
        skipped, rows = _with_header(table, file, folder)
        files: Mapping[str, Path] = {compartments[0]: file}
        if table.side_by_side:
            whole = file.rename(folder / "side by side.csv")
            header = read_header(whole, replace(format, delimiter=","), str(whole))
            pieces = {name: piece for name in compartments if (piece := piece_of_whole(name, header, preset))}
            files, _, _ = take_apart(whole, header, pieces, folder, format, str(whole))
        split = Split(
            replace(split.export, files={**split.export.files, **files}),
            (*split.skipped, *skipped),
            split.rows + rows,
        )
    return split


def _with_header(table: Declared, out: Path, folder: Path) -> tuple[list[tuple[str, str]], int]:
    """Write a table's files as one; records that were left out and why, and how many."""
    skipped: list[tuple[str, str]] = []
    left_out = 0
    with out.open("wb") as made:
        made.write(b",".join(_written(name.encode()) for name in table.columns) + b"\n")
        for number, file in enumerate(table.files):
            path = plain_file(file, folder / str(number)) if file.stat().st_size else file
            if not table.texts and _is_plain(path, len(table.columns)):
                _copy(path, made)
                continue
            ragged = _rewrite(path, str(file), len(table.columns), made)
            left_out += len(ragged)
            skipped += [
                (f"{file}, line {line}", f"{fields} fields, SETUP.SQL declares {len(table.columns)}")
                for line, fields in ragged[:_TOLD]
            ]
            if len(ragged) > _TOLD:
                skipped.append((str(file), f"{len(ragged) - _TOLD} more records have not {len(table.columns)} fields"))
    return skipped, left_out


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block + file.readline()


def _is_plain(path: Path, width: int) -> bool:
    """Whether a file of numbers is read by MySQL as by everybody, every record of it having so many fields."""
    scanner = Scanner(Dialect())
    for block in _blocks(path):
        if b"\\" in block or b'"' in block or b"\r" in block:
            return False
        fields = scanner.take(block if block.endswith(b"\n") else block + b"\n")[:, 1]
        if not ((fields == width) | (fields == 0)).all():
            return False
    return True


def _copy(path: Path, out: BinaryIO) -> None:
    for block in _blocks(path):
        out.write(block if block.endswith(b"\n") else block + b"\n")


def _rewrite(path: Path, where: str, width: int, out: BinaryIO) -> list[tuple[int, int]]:
    """Write a file's records without escapes; the line and the number of fields of those that are left out."""
    ragged = []
    line = 1
    for record, lines in _records(path.read_bytes(), where):
        if len(record) == width:
            out.write(b",".join(map(_written, record)) + b"\n")
        elif record != [b""]:
            ragged.append((line, len(record)))
        line += lines
    return ragged


def _records(data: bytes, where: str) -> Iterator[tuple[list[bytes], int]]:
    """The records of a file, and how many lines each takes; a field without a value is empty."""
    at, start, record = 0, 0, list[bytes]()
    while at < len(data) or record:
        found = _FIELD.match(data, at)
        if found is None:
            raise never_closed(where, data.count(b"\n", 0, at) + 1)
        record.append(_value(found))
        at = found.end()
        if found["end"] != b",":
            yield record, data.count(b"\n", start, at)
            start, record = at, []


def _value(found: re.Match[bytes]) -> bytes:
    quoted, plain = found["quoted"], found["plain"]
    if quoted is None and plain in _NO_VALUE:
        return b""
    text = plain if quoted is None else quoted.replace(b'""', b'"')
    return _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[1]), text) if b"\\" in text else text


def _written(field: bytes) -> bytes:
    return b'"' + field.replace(b'"', b'""') + b'"' if _SPECIAL.search(field) else field
