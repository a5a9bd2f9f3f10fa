"""The first of two passes over a plate's CSV files: its columns, their types, and the keys of all rows."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.arrays import from_numpy
from cytotable_dagster.core.csv_block import Block, block_of, kinds_found, read_block, save_block
from cytotable_dagster.core.csv_files import Export, exports_in, table_numbers
from cytotable_dagster.core.csv_layout import INTEGER, MISSING, REAL, TEXT
from cytotable_dagster.core.csv_parts import (
    Header,
    Ragged,
    Records,
    first_records,
    parse,
    parts_of,
    plain_file,
    ragged_records,
    read_header,
    read_part,
)
from cytotable_dagster.core.csv_reader import CsvTable, TablePart, csv_table_path, save_table
from cytotable_dagster.core.csv_types import CLASSES, Guess, classes, decided, kinds_asked, narrowest, types_of
from cytotable_dagster.core.object_csv import with_split_objects
from cytotable_dagster.core.presets import TABLE_NUMBER, Preset
from cytotable_dagster.core.readers import Found
from cytotable_dagster.core.types import Coercion, SourceColumn
from cytotable_dagster.core.values import typed_array

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# Of a table's files, so many bytes are kept parsed; the rest is parsed again.
_SPOOLED = 4 << 30
# So many bytes of records show which types to expect of the rest.
_SAMPLE = 1 << 18


def find_tables(root: Path, preset: Preset, encoding: str, folder: Path, *, spool: bool = False) -> Found:
    """The tables of the plate in a folder of CSV files, by their headers.

    Args:
        folder: the plan's, for what the conversion reads again.
        spool: keep parsed columns in it, so that most is parsed once; half the size of the files.

    Raises:
        SourceNotFoundError, SourceFormatError: there are no such files, or one is something else.
    """
    exports = exports_in(root, preset)
    numbers, notes = table_numbers(exports) if preset.table_number == TABLE_NUMBER else ({}, ())
    tables: dict[str, CsvSurvey] = {}
    exports, skipped = with_split_objects(exports, preset, encoding, folder / "csv")
    for table in (*preset.metadata, *preset.compartments):
        survey = CsvSurvey(table, preset.keys_of(table), encoding, folder, spool)
        for export in exports:
            reason = survey.add(export, numbers.get(export.name))
            if reason is not None:
                skipped.append((_label(export, table), reason))
        if survey.headers:
            tables[table] = survey
    return Found(tables, tuple(skipped), notes)


@dataclass
class CsvSurvey:
    """A table of CSV files that is looked through; see `readers.TableReader`."""

    table: str
    keys: tuple[str, ...]
    encoding: str
    folder: Path
    spool: bool = False
    headers: list[Header] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    _files: list[TablePart] = field(default_factory=list)
    _known: CsvTable | None = None
    _profile: Any = None

    reader = "csv"
    reason = ""

    def add(self, export: Export, table_number: int | None) -> str | None:
        """Take an export's file of this table; why not, where it is not there or empty."""
        file = export.files.get(self.table)
        if file is None:
            return "not there"
        if not file.stat().st_size:
            return "empty (0 bytes)"
        label = _label(export, self.table)
        path = plain_file(file, self.folder / "csv")
        if not path.stat().st_size:
            return "empty (0 bytes, compressed)"
        header = read_header(path, self.encoding, str(file))
        if header not in self.headers:
            self.headers.append(header)
            self.notes.extend(f"{label}: {note}" for note in header.notes)
        at = self.headers.index(header)
        number = None if TABLE_NUMBER in header.names else table_number
        parts = [TablePart(str(file), str(path), part, at, 0, number) for part in parts_of(path, header)]
        self._files.extend(parts)
        return None if parts else "no rows, only a header"

    @property
    def columns(self) -> tuple[SourceColumn, ...]:
        """The columns of all files, in the order in which they come."""
        names = dict.fromkeys(name for header in self.headers for name in header.names)
        if TABLE_NUMBER in self.keys:
            names = {TABLE_NUMBER: None, **names}
        return tuple(SourceColumn(name, "", "BLOB") for name in names)

    def read_keys(self, others: Sequence[str]) -> "tuple[np.ndarray, list[pa.Array]]":
        """Row numbers, and the values of the key columns and of these others."""
        import numpy as np

        wanted = (*self.keys, *others)
        if self.spool:
            self._files = list(_with_spools(self._files, self.folder / "csv", self.table))
        draft = CsvTable(self.columns, tuple(self.headers), tuple(self._files), self.encoding)
        guess = Guess()
        with ThreadPoolExecutor(min(os.cpu_count() or 1, len(self._files) or 1)) as pool:
            looked = list(pool.map(lambda part: _look_at(draft, part, guess, wanted), self._files))
        parts = tuple(
            replace(part, rows=look.rows, spool=part.spool if look.rows else None)
            for part, look in zip(self._files, looked, strict=True)
        )
        self._known = CsvTable(self.columns, draft.headers, parts, self.encoding)
        self._profile = self._counted(parts, looked)
        self.left_out.extend(self._ragged(parts, looked))
        self.folder.mkdir(parents=True, exist_ok=True)
        save_table(self._known, csv_table_path(self.folder, self.table))
        rows = np.arange(sum(look.rows for look in looked))
        return rows, [_key([look.keys[place] for look in looked], name) for place, name in enumerate(wanted)]

    def profile(self) -> "np.ndarray":
        """Counts of storage classes, shape (columns, 5)."""
        return self._profile

    def batches(
        self, wanted: "Sequence[np.ndarray]", columns: Sequence[str], types: "Sequence[pa.DataType]"
    ) -> "Iterator[tuple[list[pa.Array], tuple[Coercion, ...]]]":
        assert self._known is not None
        return self._known.batches(wanted, columns, types)

    def _counted(self, parts: "Sequence[TablePart]", looked: "Sequence[_Look]") -> "np.ndarray":
        import numpy as np

        places = {column.name: place for place, column in enumerate(self.columns)}
        places_of = [np.array([places[name] for name in header.names]) for header in self.headers]
        counts = np.zeros((len(places), CLASSES), np.int64)
        for part, look in zip(parts, looked, strict=True):
            counts[places_of[part.header]] += look.counts
            if part.table_number is not None:
                counts[places[TABLE_NUMBER], INTEGER] += look.rows
        # Where most values are text, numbers among them are text too.
        numbers = counts[:, INTEGER] + counts[:, REAL]
        mostly_text = counts[:, TEXT] > numbers
        counts[mostly_text, TEXT] += numbers[mostly_text]
        counts[mostly_text, INTEGER] = counts[mostly_text, REAL] = 0
        counts[:, MISSING] = sum(look.rows for look in looked) - counts[:, INTEGER:].sum(axis=1)
        return counts

    def _ragged(self, parts: Sequence[TablePart], looked: "Sequence[_Look]") -> Iterator[tuple[str, str]]:
        """The ragged records: their file and line, and what is wrong."""
        lines: dict[str, int] = {}
        for part, look in zip(parts, looked, strict=True):
            header = self.headers[part.header]
            line = lines.get(part.name, header.lines + 1)
            yield from ragged_records(part.name, line, look.ragged, len(header.names))
            lines[part.name] = line + look.lines


@dataclass(frozen=True)
class _Look:
    """A part that was looked at: its rows and lines, its keys, how many values of each column are of which class (see
    `csv_types.classes`)."""

    rows: int
    lines: int
    keys: "tuple[pa.Array, ...]"
    counts: "np.ndarray"
    ragged: tuple[Ragged, ...]


def _look_at(table: CsvTable, part: TablePart, guess: Guess, wanted: Sequence[str]) -> _Look:
    import numpy as np
    import pyarrow as pa

    header = table.headers[part.header]
    records = read_part(Path(part.path), part.part, header, table.encoding, part.name)
    block = _plain_block(records, header, guess)
    if block is None:
        block, records = _any_block(table, part, records, guess)
    keys = []
    for name in wanted:
        if name in header.names:
            array = block.array(header.names.index(name))
            keys.append(array if pa.types.is_integer(array.type) else array.cast(pa.string()))
        elif name == TABLE_NUMBER and part.table_number is not None:
            keys.append(from_numpy(np.full(block.rows, part.table_number, np.int64)))
        else:
            keys.append(pa.nulls(block.rows, pa.int64()))
    if part.spool and block.rows:
        save_block(block, Path(part.spool))
    return _Look(block.rows, records.lines, tuple(keys), classes(block), records.ragged)


def _plain_block(records: Records, header: Header, guess: Guess) -> Block | None:
    """The columns of plain records: of the types that are expected, or of those that all their values are of."""
    asked, kinds = kinds_asked(header), guess.of(header)
    if kinds is None:
        # What the first records show is what all others are expected to be.
        found = kinds_found(first_records(records.data, _SAMPLE), asked)
        if found is None:
            return None
        kinds = guess.learn(header, found)
    block = read_block(records, header, kinds)
    if block is None:
        found = kinds_found(records.data, asked)
        if found is not None:
            guess.learn(header, found)
            block = read_block(records, header, decided(found))
    return block


def _any_block(table: CsvTable, part: TablePart, records: Records, guess: Guess) -> tuple[Block, Records]:
    """The columns of a part whatever is in it, and its records without those that are ragged."""
    import pyarrow as pa

    header = table.headers[part.header]
    try:
        kinds = guess.of(header)
        if kinds is None:
            kinds = guess.learn(header, _narrow(first_records(records.data, _SAMPLE), header).kinds)
        found = parse(records.data, header, types_of(header, kinds))
        return block_of(found, header.names), records
    except pa.ArrowInvalid:
        records = read_part(Path(part.path), part.part, header, table.encoding, part.name, exact=True)
        block = _narrow(records.data, header)
        guess.learn(header, block.kinds)
        return block, records


def _narrow(data: bytes, header: Header) -> Block:
    """The columns of records, each of the narrowest type; names are kept as they are written."""
    import pyarrow as pa

    texts = parse(data, header, dict.fromkeys(header.names, pa.string()))
    asked = kinds_asked(header)
    found = {
        name: array if kind == TEXT else narrowest(array)
        for (name, array), kind in zip(texts.items(), asked, strict=True)
    }
    return block_of(found, header.names)


def _key(pieces: "Sequence[pa.Array]", name: str) -> "pa.Array":
    """A key of all parts: int64 where every value is a whole number, else text."""
    import pyarrow as pa

    if not pieces:
        return pa.nulls(0, pa.int64())
    if all(pa.types.is_integer(piece.type) for piece in pieces):
        return pa.concat_arrays(pieces)
    texts = pa.concat_arrays([piece.cast(pa.string()) for piece in pieces])
    numbers, coercion = typed_array(texts.to_pylist(), name, pa.int64())
    return texts if coercion else numbers


def _with_spools(parts: Sequence[TablePart], folder: Path, table: str) -> Iterator[TablePart]:
    folder.mkdir(parents=True, exist_ok=True)
    size = 0
    for number, part in enumerate(parts):
        size += part.part.size
        yield replace(part, spool=str(folder / f"{table}-{number}.npy")) if size < _SPOOLED else part


def _label(export: Export, table: str) -> str:
    file = export.files.get(table)
    name = file.name if file else f"{table}.csv"
    return name if export.name == "." else f"{export.name}/{name}"
