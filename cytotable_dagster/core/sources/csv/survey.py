"""The first of two passes over a plate's CSV files: its columns, their types, and the keys of all rows."""

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.kernels.csv_layout import CLASSES, COUNTED, INTEGER, MISSING, REAL, TEXT
from cytotable_dagster.core.model.column_types import loses_as_count, loses_as_name
from cytotable_dagster.core.model.names import is_identity
from cytotable_dagster.core.model.presets import TABLE_NUMBER, Preset
from cytotable_dagster.core.model.types import Coercion, SourceColumn
from cytotable_dagster.core.model.values import typed_array
from cytotable_dagster.core.sources.csv.combined import with_split_objects
from cytotable_dagster.core.sources.csv.dialect import COMMA, POINT, CsvFormat, Dialect
from cytotable_dagster.core.sources.csv.exports import Export, exports_and_others, taken_by_prefix
from cytotable_dagster.core.sources.csv.field_types import classes, of_type, without_missing
from cytotable_dagster.core.sources.csv.header import Header, plain_file, read_header
from cytotable_dagster.core.sources.csv.parts import Ragged, parts_of, ragged_records, read_part
from cytotable_dagster.core.sources.csv.setup_files import with_headers
from cytotable_dagster.core.sources.csv.sites import Told, columns_told, table_numbers, told_by_folders
from cytotable_dagster.core.sources.csv.table import CsvTable, TablePart, csv_table_path, save_table
from cytotable_dagster.core.sources.csv.unconverted import in_folders, others_of
from cytotable_dagster.core.sources.protocols import Found
from cytotable_dagster.core.support.arrays import from_numpy

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# Files of a table whose ragged records are told one by one.
_FILES_TOLD = 5


def find_tables(root: Path, preset: Preset, format: CsvFormat, folder: Path, asked: Sequence[str] = ()) -> Found:
    """The tables of the plate in a folder of CSV files, by their headers.

    Args:
        folder: the plan's, for what the conversion reads again.

    Raises:
        SourceNotFoundError, SourceFormatError: there are no such files, or one is something else.
    """
    exports, left = exports_and_others(root, preset, format)
    numbers: Mapping[str, int] = {}
    notes: tuple[str, ...] = ()
    if preset.table_number == TABLE_NUMBER:
        numbers, notes = table_numbers(exports, str(root), keep_equal=format.keep_equal)
    tables: dict[str, CsvSurvey] = {}
    absent = []
    if any(export.declared for export in exports):
        notes = (*notes, "tables and columns are those that SETUP.SQL declares")
        splits = with_headers(exports, preset, format, folder / "csv")
    else:
        splits = with_split_objects(exports, preset, format, folder / "csv")
        notes = (*notes, *taken_by_prefix(exports, preset))
    skipped = [record for split in splits for record in split.skipped]
    for table in (*preset.metadata, *preset.compartments):
        survey = CsvSurvey(table, preset.keys_of(table), format, folder)
        if not any(table in split.export.files for split in splits):
            absent.append(table)
            continue
        for export in (split.export for split in splits):
            reason = survey.add(export, numbers.get(export.name))
            if reason is not None:
                skipped.append((_label(export, table), reason))
        if survey.headers:
            tables[table] = survey
    if absent:
        notes = (*notes, f"no files are of tables {', '.join(absent)}")
    others: dict[str, CsvSurvey] = {}
    for kind, files in others_of(left, exports).items():
        if kind in asked:
            survey = CsvSurvey(kind, (TABLE_NUMBER,) if numbers else (), format, folder)
            for name, file in files.items():
                survey.add(Export(name, {kind: root / file}), numbers.get(name))
            left = tuple(other for other in left if other not in files.values())
            others |= {kind: survey} if survey.headers else {}
    unconverted = in_folders(root, left, exports, preset, format) if left else ()
    notes = (*notes, *_with_folders(tables, told_by_folders(exports, root, format.site_pattern), preset))
    notes = (*notes, *settled_dialects((*tables.values(), *others.values())))
    return Found(tables, tuple(skipped), notes, sum(split.rows for split in splits), others, unconverted)


def _with_folders(tables: "Mapping[str, CsvSurvey]", folders: Told, preset: Preset) -> tuple[str, ...]:
    """Give tables what the exports' folders say and they do not; what is to be told of that."""
    added = columns_told(folders, preset, {name: survey.names for name, survey in tables.items()})
    for survey in tables.values():
        survey.tell(added, folders)
    return folders.note({name for survey in tables.values() for part in survey.parts for name, _ in part.told})


def settled_dialects(surveys: "Iterable[CsvSurvey]") -> tuple[str, ...]:
    """What is to be told of files that are not separated by commas. Of a file without decimals those of the others
    are taken."""
    surveys = list(surveys)
    commas = any(header.dialect.decimal == COMMA for survey in surveys for header in survey.headers)
    files: dict[str, dict[str, None]] = defaultdict(dict)
    for survey in surveys:
        survey.settle(COMMA if commas else POINT)
        for part in survey.parts:
            dialect = survey.headers[part.header].dialect
            if dialect != Dialect():
                # What was taken apart lies in the plan's folder.
                file = Path(part.name)
                files[str(dialect)][file.name if file.is_relative_to(survey.folder) else part.name] = None
    return tuple(
        f"{next(iter(names))}: {dialect}" + (f"; so are {len(names) - 1} more files" if len(names) > 1 else "")
        for dialect, names in files.items()
    )


@dataclass
class CsvSurvey:
    """A table of CSV files that is looked through; see `protocols.TableReader`."""

    table: str
    keys: tuple[str, ...]
    format: CsvFormat
    folder: Path
    headers: list[Header] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    rows_left_out: int = 0
    told: tuple[str, ...] = ()
    _files: list[TablePart] = field(default_factory=list)
    _folders: list[str] = field(default_factory=list)
    _known: CsvTable | None = None
    _profile: "np.ndarray" = field(init=False)

    reader = "csv"
    reason = ""
    tells_words = True

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
        header = read_header(path, self.format, str(file))
        if not header.names:
            return "no rows, only blank lines"
        if header not in self.headers:
            self.headers.append(header)
            self.notes.extend(f"{label}: {note}" for note in header.notes)
        at = self.headers.index(header)
        number = None if TABLE_NUMBER in header.names else table_number
        parts = [TablePart(str(file), str(path), part, at, 0, number) for part in parts_of(path, header, str(file))]
        self._files.extend(parts)
        self._folders.extend([export.name] * len(parts))
        return None if parts else "no rows, only a header"

    def tell(self, names: Sequence[str], folders: Told) -> None:
        """Take these columns of what the exports' folders say, and those that only some files have."""
        self.told = tuple(names)
        wanted = {*names, *self.names}
        found = []
        for part, folder in zip(self._files, self._folders, strict=True):
            own = folders.values[folder].items()
            there = self.headers[part.header].names
            told = tuple((name, value) for name, value in own if name in wanted and name not in there)
            found.append(replace(part, told=told))
        self._files = found

    @property
    def parts(self) -> Sequence[TablePart]:
        return self._files

    def settle(self, decimal: str) -> None:
        """Take this for what stands before decimals in files that have none."""
        for at, header in enumerate(self.headers):
            if not header.dialect.decimal:
                self.headers[at] = replace(header, dialect=replace(header.dialect, decimal=decimal))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of all files, in the order in which they come."""
        return tuple(dict.fromkeys(name for header in self.headers for name in header.names))

    @property
    def columns(self) -> tuple[SourceColumn, ...]:
        """Those, after the TableNumber; then what only the folders tell."""
        names = dict.fromkeys((TABLE_NUMBER, *self.names) if TABLE_NUMBER in self.keys else self.names)
        told = [SourceColumn(n, "", "BLOB", measured=False, told=True) for n in self.told if n not in names]
        return (*(SourceColumn(name, "", "BLOB") for name in names), *told)

    def read_keys(self, others: Sequence[str]) -> "tuple[np.ndarray, list[pa.Array]]":
        """Row numbers, and the values of the key columns and of these others."""
        import numpy as np

        wanted = (*self.keys, *others)
        draft = CsvTable(self.columns, tuple(self.headers), tuple(self._files), self.format.encoding)
        kinds = [_kinds(header, wanted) for header in self.headers]
        with ThreadPoolExecutor(min(os.cpu_count() or 1, len(self._files) or 1)) as pool:
            each = pool.map if len(self._files) > 1 else map
            looked = list(each(lambda part: _look_at(draft, part, wanted, kinds[part.header]), self._files))
        parts = tuple(replace(part, rows=look.rows) for part, look in zip(self._files, looked, strict=True))
        self._known = CsvTable(self.columns, draft.headers, parts, self.format.encoding)
        self._profile = self._counted(parts, looked)
        self.left_out.extend(self._ragged(parts, looked))
        self.rows_left_out = sum(look.left_out for look in looked)
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
        marks = np.zeros(len(places), np.int64)
        for part, look in zip(parts, looked, strict=True):
            own = places_of[part.header]
            counts[own] += look.counts
            marks[own] |= look.marks
            if part.table_number is not None:
                counts[places[TABLE_NUMBER], INTEGER] += look.rows
            for name, value in part.told:
                counts[places[name], INTEGER if isinstance(value, int) else TEXT] += look.rows
        # Where most values are text, numbers among them are text too.
        numbers = counts[:, INTEGER] + counts[:, REAL]
        lossy = [
            text > 0 or loses_as_name(own, real > 0) if is_identity(name) else loses_as_count(own, real > 0)
            for name, own, real, text in zip(places, marks.tolist(), counts[:, REAL], counts[:, TEXT], strict=True)
        ]
        # And where one of them would lose something as a number.
        all_text = (counts[:, TEXT] > numbers) | np.array(lossy, bool)
        counts[all_text, TEXT] += numbers[all_text]
        counts[all_text, INTEGER] = counts[all_text, REAL] = 0
        counts[:, MISSING] = sum(look.rows for look in looked) - counts[:, INTEGER:].sum(axis=1)
        return counts

    def _ragged(self, parts: Sequence[TablePart], looked: "Sequence[_Look]") -> Iterator[tuple[str, str]]:
        """The ragged records: their file and line, and what is wrong; from a number of files on, how many there are."""
        pairs = zip(parts, looked, strict=True)
        files = [(name, list(own)) for name, own in itertools.groupby(pairs, key=lambda pair: pair[0].name)]
        ragged = [(name, own) for name, own in files if any(look.left_out for _, look in own)]
        more = ragged[_FILES_TOLD:]
        for name, found in ragged[:_FILES_TOLD]:
            first, _ = found[0]
            width = len(self.headers[first.header].names)
            pieces = [(part.part, look.left_out, look.ragged) for part, look in found]
            yield from ragged_records(Path(first.path), name, pieces, width)
        if more:
            count = sum(look.left_out for _, own in more for _, look in own)
            yield f"{more[0][0]} and {len(more) - 1:,} more", f"{count:,} records have not as many fields as the header"


@dataclass(frozen=True)
class _Look:
    """A part that was looked at: its rows, its keys, how many values of each column are of which class and what marks
    numbers among them have (see `field_types.Classes`), and the records that were left out."""

    rows: int
    keys: "tuple[pa.Array, ...]"
    counts: "np.ndarray"
    marks: "np.ndarray"
    left_out: int
    ragged: tuple[Ragged, ...]


def _kinds(header: Header, wanted: Sequence[str]) -> "np.ndarray":
    """What is kept of the columns: those that name things as they are written, and the keys."""
    import numpy as np

    return np.array([TEXT if is_identity(n) else INTEGER if n in wanted else COUNTED for n in header.names])


def _look_at(table: CsvTable, part: TablePart, wanted: Sequence[str], kinds: "np.ndarray") -> _Look:
    import numpy as np
    import pyarrow as pa

    from cytotable_dagster.core.sources.csv.block import read_block, read_texts

    header = table.headers[part.header]
    records = read_part(Path(part.path), part.part, header, table.encoding, part.name)
    block = read_block(records, header, kinds)
    if block is None:
        records = read_part(Path(part.path), part.part, header, table.encoding, part.name, exact=True)
        block = read_texts(records, header, kinds)
    counts = block.counts.copy()
    marks = np.zeros(len(counts), np.int64)
    for name, array in block.texts.items():
        place = header.names.index(name)
        counts[place], marks[place] = classes(header.dialect.numbers_in(array), name)
    keys = []
    for name in wanted:
        if name in block.texts:
            keys.append(header.dialect.numbers_in(block.texts[name]))
        elif name in header.names:
            keys.append(block.whole_numbers(name))
        elif name == TABLE_NUMBER and part.table_number is not None:
            keys.append(from_numpy(np.full(block.rows, part.table_number, np.int64)))
        else:
            keys.append(pa.nulls(block.rows, pa.int64()))
    return _Look(block.rows, tuple(keys), counts, marks, records.left_out, records.ragged)


def _key(pieces: "Sequence[pa.Array]", name: str) -> "pa.Array":
    """A key of all parts: int64 where every value is a whole number, else text."""
    import pyarrow as pa

    if not pieces:
        return pa.nulls(0, pa.int64())
    if all(pa.types.is_integer(piece.type) for piece in pieces):
        return pa.concat_arrays(pieces)
    texts = without_missing(pa.concat_arrays([piece.cast(pa.string()) for piece in pieces]))
    numbers = of_type(texts, pa.int64())
    if numbers is not texts:
        return numbers
    numbers, coercion = typed_array(texts.to_pylist(), name, pa.int64())
    return texts if coercion else numbers


def _label(export: Export, table: str) -> str:
    file = export.files.get(table)
    name = file.name if file else f"{table}.csv"
    return name if export.name == "." else f"{export.name}/{name}"
