"""The first of two passes over a plate's CSV files: its columns, their types, and the keys of all rows."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.arrays import from_numpy
from cytotable_dagster.core.columns import is_identity
from cytotable_dagster.core.csv_files import Export, exports_in, table_numbers
from cytotable_dagster.core.csv_parts import (
    Header,
    Ragged,
    first_records,
    parse,
    parts_of,
    plain_file,
    read_header,
    read_part,
)
from cytotable_dagster.core.csv_reader import CsvTable, TablePart, csv_table_path, save_table
from cytotable_dagster.core.csv_types import INTEGER, REAL, TEXT, Guess, classes, narrowest
from cytotable_dagster.core.errors import SourceFormatError
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
        looked: list[_Look] = []
        # What the first records show is what all others are expected to be; where they show nothing, the first part
        # that has rows.
        rest = iter(self._files)
        if not any(_learnt_from_start(draft, part, guess) for part in self._files[:1]):
            for part in rest:
                looked.append(_look_at(draft, part, guess, wanted))
                if looked[-1].rows:
                    break
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            looked.extend(pool.map(lambda part: _look_at(draft, part, guess, wanted), rest))
        parts = tuple(
            replace(part, rows=look.rows, spool=part.spool if look.rows else None)
            for part, look in zip(self._files, looked, strict=True)
        )
        self._known = CsvTable(self.columns, draft.headers, parts, self.encoding)
        self._profile = self._counted(looked)
        for part, look in zip(parts, looked, strict=True):
            self.left_out.extend(_ragged_records(part, look.ragged, len(self.headers[part.header].names)))
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

    def _counted(self, looked: "Sequence[_Look]") -> "np.ndarray":
        import numpy as np

        places = {column.name: place for place, column in enumerate(self.columns)}
        counts = np.zeros((len(places), 5), np.int64)
        for look in looked:
            for (name, kind), number in look.counts.items():
                counts[places[name], kind] += number
        # Where most values are text, numbers among them are text too.
        numbers = counts[:, INTEGER] + counts[:, REAL]
        mostly_text = counts[:, TEXT] > numbers
        counts[mostly_text, TEXT] += numbers[mostly_text]
        counts[mostly_text, INTEGER] = counts[mostly_text, REAL] = 0
        counts[:, 0] = sum(look.rows for look in looked) - counts.sum(axis=1)
        return counts


@dataclass(frozen=True)
class _Look:
    """A part that was looked at: its rows, its keys, how many values of each column are of which class."""

    rows: int
    keys: "tuple[pa.Array, ...]"
    counts: Mapping[tuple[str, int], int]
    ragged: tuple[Ragged, ...]


def _look_at(table: CsvTable, part: TablePart, guess: Guess, wanted: Sequence[str]) -> _Look:
    import numpy as np
    import pyarrow as pa

    header = table.headers[part.header]
    path, names = Path(part.path), list(header.names)
    data, ragged = read_part(path, part.part, header, table.encoding, part.name)
    try:
        if guess.of(header) is None:
            guess.learn(_narrow(first_records(data, _SAMPLE), header))
        found = parse(data, header, guess.of(header) or {})
    except pa.ArrowInvalid:
        found = None
    if found is None:
        data, ragged = read_part(path, part.part, header, table.encoding, part.name, exact=True)
        found = _narrow(data, header)
        guess.learn(found)
    rows = len(found[names[0]])
    counts = {(name, kind): number for name, array in found.items() for kind, number in classes(array, name) if number}
    keys = []
    for name in wanted:
        if name in found:
            array = found[name]
            keys.append(array if pa.types.is_integer(array.type) else array.cast(pa.string()))
        elif name == TABLE_NUMBER and part.table_number is not None:
            keys.append(from_numpy(np.full(rows, part.table_number, np.int64)))
            counts[name, INTEGER] = rows
        else:
            keys.append(pa.nulls(rows, pa.int64()))
    if part.spool and rows:
        _keep(found, Path(part.spool))
    return _Look(rows, tuple(keys), counts, ragged)


def _learnt_from_start(table: CsvTable, part: TablePart, guess: Guess) -> bool:
    """Whether the first records of a part, a small share of it, showed the types of its columns."""
    import pyarrow as pa

    header = table.headers[part.header]
    with Path(part.path).open("rb") as file:
        file.seek(part.part.start)
        end = file.read(min(part.part.size, _SAMPLE)).rfind(b"\n") + 1
    if not end:
        return False
    try:
        data, _ = read_part(Path(part.path), replace(part.part, size=end), header, table.encoding, part.name)
        found = _narrow(data, header)
    except (pa.ArrowInvalid, SourceFormatError):
        return False
    guess.learn(found)
    return any(len(array) for array in found.values())


def _narrow(data: bytes, header: Header) -> "dict[str, pa.Array]":
    """The columns of records, each of the narrowest type; what names things is kept as it is written: 007 is no 7."""
    import pyarrow as pa

    texts = parse(data, header, dict.fromkeys(header.names, pa.string()))
    return {name: array if is_identity(name) else narrowest(array) for name, array in texts.items()}


def _keep(found: "Mapping[str, pa.Array]", path: Path) -> None:
    """Write columns for the second pass."""
    import pyarrow as pa

    table = pa.table(found)
    with pa.ipc.new_file(path, table.schema) as file:
        file.write_table(table)


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
        yield replace(part, spool=str(folder / f"{table}-{number}.arrow")) if size < _SPOOLED else part


def _label(export: Export, table: str) -> str:
    file = export.files.get(table)
    name = file.name if file else f"{table}.csv"
    return name if export.name == "." else f"{export.name}/{name}"


def _ragged_records(part: TablePart, ragged: Sequence[Ragged], width: int) -> list[tuple[str, str]]:
    return [(f"{part.name}, line {one.line}", f"{one.fields} fields, the header has {width}") for one in ragged]
