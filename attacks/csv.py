"""Mutated plates of CSV files, with Python's csv module as the oracle: rows, values, and what the report counts."""

import csv
import gzip
import io
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from attacks.csv_files import plate, spoil
from attacks.outcome import DIFFERENT, RIGHT, Outcome, refused
from cytotable_dagster import ConversionResult, CytoTableError, convert
from cytotable_dagster.core.reports.records import CompartmentReport
from cytotable_dagster.core.sources.csv import parts as csv_parts
from cytotable_dagster.core.sources.csv.field_types import MISSING
from cytotable_dagster.core.sources.csv.sites import SOURCE_FOLDER

_BLANKS = " \t\n\r\f\v"
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_MISSING = ("", "nan", "+nan", "-nan", "null")
_TABLES = ("Image", "Cells", "Cytoplasm", "Nuclei")

Row = dict[str, str]


@dataclass
class _Expected:
    """A table as Python reads it: its columns, its rows, and how many records are of another length."""

    columns: dict[str, None] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    ragged: int = 0

    def add(self, names: Sequence[str], records: Sequence[Sequence[str]]) -> None:
        self.columns |= dict.fromkeys(names)
        good = [record for record in records if len(record) == len(names)]
        self.rows += [dict(zip(names, record, strict=True)) for record in good]
        self.ragged += len(records) - len(good)


def attack(seed: str, folder: Path) -> Outcome:
    """A plate with something done to it is converted as Python's csv module reads it, or refused in one line."""
    csv.field_size_limit(2**31 - 1)
    chance = random.Random(seed)
    root = plate(chance, folder)
    done = spoil(chance, root)
    with _parts_of(chance.choice([None, 40, 400])):
        try:
            result = convert(root, folder / "out", chunk_size=chance.choice([None, 1, 3]))
        except CytoTableError as error:
            outcome = refused(error)
            return Outcome(outcome.kind, f"{done}: {outcome.detail}")
    assert isinstance(result, ConversionResult)
    wrong = _difference(root, folder / "out", result)
    return Outcome(DIFFERENT, f"{done}: {wrong}") if wrong else Outcome(RIGHT, done)


@contextmanager
def _parts_of(size: int | None) -> Iterator[None]:
    """Files are read in parts of so many bytes, as large ones are in parts of megabytes."""
    usual = csv_parts.part_size
    if size is not None:
        csv_parts.part_size = lambda columns: size
    try:
        yield
    finally:
        csv_parts.part_size = usual


def _difference(root: Path, out: Path, result: ConversionResult) -> str:
    """What the result has otherwise than Python and does not tell; empty where there is nothing."""
    try:
        tables, ragged = _read(root)
    except (UnicodeDecodeError, OSError, EOFError, ValueError) as error:
        return f"converted what Python cannot read: {error}".replace("\n", " / ")
    report = result.report
    if report.skipped_rows != ragged:
        return f"{report.skipped_rows} rows are told to be skipped, Python has {ragged}"
    if ragged and not report.problems:
        return "rows were skipped, and strict would not refuse it"
    for name, expected in tables.items():
        file = out / f"{name}.parquet"
        if not file.exists():
            if expected.rows:
                return f"no {name}, of {len(expected.rows)} rows"
            continue
        (part,) = [part for part in report.compartments if part.compartment == name]
        found = pq.read_table(file)
        # What the converter adds of each site's folder.
        found = found.drop_columns([column for column in found.column_names if column == SOURCE_FOLDER])
        if wrong := _compared(found, expected, part):
            return f"{name}: {wrong}"
    return ""


def _compared(found: pa.Table, expected: _Expected, part: CompartmentReport) -> str:
    if found.num_rows != len(expected.rows):
        return f"{found.num_rows} rows, Python has {len(expected.rows)}"
    # What the converter adds comes first.
    added = found.num_columns - len(expected.columns)
    if added < 0:
        return f"{found.num_columns} columns, Python has {len(expected.columns)}"
    types = dict(zip(expected.columns, found.schema.types[added:], strict=True))
    coerced = 0
    rows: Counter[str] = Counter()
    for row in expected.rows:
        values = [_typed(row.get(name, ""), types[name]) for name in expected.columns]
        coerced += sum(lost for _, lost in values)
        rows[repr([value for value, _ in values])] += 1
    columns = [column.to_pylist() for column in found.columns[added:]]
    others = Counter(repr(list(values)) for values in zip(*columns, strict=True))
    if others != rows:
        mine, theirs = next(iter(others - rows)), next(iter(rows - others))
        return f"a row {mine[:300]}, where Python has {theirs[:300]}"
    told = sum(coercion.count for coercion in part.coercions)
    return "" if told == coerced else f"{told} coercions told, where there are {coerced}"


def _typed(text: str, type: pa.DataType) -> tuple[object, bool]:
    """A field as a value of this type, and whether it is lost, as it does not fit."""
    if type == pa.string():
        return text or None, False
    bare = text.strip(_BLANKS)
    if bare.lower() in _MISSING:
        return None, False
    if not _NUMBER.fullmatch(bare):
        return None, True
    if type == pa.float64():
        return float(bare), bool(_WHOLE.fullmatch(bare)) and not _is_double(bare)
    value = int(bare) if _WHOLE.fullmatch(bare) and len(bare) < 400 else float(bare)
    whole = value == value and abs(value) != float("inf") and value == int(value)
    fits = whole and -(2**63) <= int(value) < 2**63
    return (int(value), False) if fits else (None, True)


def _is_double(digits: str) -> bool:
    return float(digits) != float("inf") and int(float(digits)) == int(digits)


def _read(root: Path) -> tuple[dict[str, _Expected], int]:
    """The tables of a plate by Python's csv module, and how many records of all files are ragged."""
    tables: dict[str, _Expected] = {}
    ragged = 0
    exports: dict[Path, dict[str, Path]] = {}
    for path in sorted(path for path in root.rglob("*.csv*") if path.stat().st_size):
        exports.setdefault(path.parent, {})[path.name.split(".csv")[0]] = path
    for _, files in sorted(exports.items(), key=lambda item: item[0].relative_to(root).as_posix()):
        for name, path in files.items():
            records = _records(path)
            if name == "object":
                ragged += _take_apart(records, tables)
            elif records:
                table = tables.setdefault(name if name in _TABLES else "Cells", _Expected())
                table.add(_unique(records[0]), records[1:])
    return tables, ragged + sum(table.ragged for table in tables.values())


def _records(path: Path) -> list[list[str]]:
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    # A byte order mark may also stand behind blank lines that something put before the header.
    text = data.decode().removeprefix("\ufeff").lstrip("\r\n").removeprefix("\ufeff")
    return [record for record in csv.reader(io.StringIO(text, newline="")) if record]


def _take_apart(records: list[list[str]], tables: dict[str, _Expected]) -> int:
    """The compartments that lie side by side, which the first two records name; how many records are ragged."""
    owners, names = ([*records, [], []])[:2]
    called = {table.lower(): table for table in _TABLES[1:]}
    owners = [called.get(owner.strip().lower(), owner.strip()) for owner in owners]
    names = [name.strip() for name in names]
    if len(owners) != len(names) or not {*_TABLES[1:]} & {*owners}:
        return len(records[2:])
    good = [record for record in records[2:] if len(record) == len(owners)]
    for table in _TABLES[1:]:
        own = [place for place, owner in enumerate(owners) if owner == table]
        if not own:
            continue
        own = [place for place in own if names[place] != "ObjectNumber"]
        counter = [place for place, name in enumerate(names) if name == "ObjectNumber"][:1]
        numbers = [place for place in own if names[place] == "Number_Object_Number"] or counter
        image = [place for place, owner in enumerate(owners) if owner == "Image"]
        places = [*image, *numbers, *own]
        head = [
            *(names[place] for place in image),
            *("ObjectNumber" for _ in numbers),
            *(names[place] for place in own),
        ]
        rows = [
            [record[place] for place in places]
            for record in good
            if any(record[place] not in MISSING for place in own or numbers)
        ]
        tables.setdefault(table, _Expected()).add(_unique(head), rows)
    return len(records[2:]) - len(good)


def _unique(fields: Sequence[str]) -> list[str]:
    """Names of columns: those that have none are numbered, and so are those that are there twice."""
    given = [field.strip() or f"column_{place}" for place, field in enumerate(fields, start=1)]
    names: dict[str, None] = {}
    for name in given:
        number, unique = 1, name
        while unique in names or (unique != name and unique in given):
            number += 1
            unique = f"{name}_{number}"
        names[unique] = None
    return list(names)
