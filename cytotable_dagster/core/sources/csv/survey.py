"""The first of two passes over the CSV files of a table: its columns, their types, and the keys of all rows."""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.kernels.csv_layout import CLASSES, INTEGER, MISSING, REAL, TEXT
from cytotable_dagster.core.model.names import is_identity
from cytotable_dagster.core.model.presets import TABLE_NUMBER
from cytotable_dagster.core.model.text_kind import loses_as_count, loses_as_name
from cytotable_dagster.core.model.types import Coercion, SourceColumn
from cytotable_dagster.core.sources.csv.dialect import CsvFormat
from cytotable_dagster.core.sources.csv.exports import Export
from cytotable_dagster.core.sources.csv.header import Header, plain_file, read_header
from cytotable_dagster.core.sources.csv.part_survey import PartSurvey, joined_key, kinds_of, survey_part
from cytotable_dagster.core.sources.csv.parts import parts_of, ragged_records
from cytotable_dagster.core.sources.csv.sites import Told
from cytotable_dagster.core.sources.csv.table import CsvTable, TablePart, csv_table_path, save_table
from cytotable_dagster.core.support.cores import cores

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# Files of a table whose ragged records are told one by one.
_FILES_TOLD = 5


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
        label = export.label(self.table)
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
        kinds = [kinds_of(header, wanted) for header in self.headers]
        with ThreadPoolExecutor(min(cores(), len(self._files) or 1)) as pool:
            each = pool.map if len(self._files) > 1 else map
            looked = list(each(lambda part: survey_part(draft, part, wanted, kinds[part.header]), self._files))
        parts = tuple(replace(part, rows=look.rows) for part, look in zip(self._files, looked, strict=True))
        self._known = CsvTable(self.columns, draft.headers, parts, self.format.encoding)
        self._profile = self._counted(parts, looked)
        self.left_out.extend(self._ragged(parts, looked))
        self.rows_left_out = sum(look.left_out for look in looked)
        self.folder.mkdir(parents=True, exist_ok=True)
        save_table(self._known, csv_table_path(self.folder, self.table))
        rows = np.arange(sum(look.rows for look in looked))
        return rows, [joined_key([look.keys[place] for look in looked], name) for place, name in enumerate(wanted)]

    def profile(self) -> "np.ndarray":
        """Counts of storage classes, shape (columns, 5)."""
        return self._profile

    def batches(
        self, wanted: "Sequence[np.ndarray]", columns: Sequence[str], types: "Sequence[pa.DataType]"
    ) -> "Iterator[tuple[list[pa.Array], tuple[Coercion, ...]]]":
        assert self._known is not None
        return self._known.batches(wanted, columns, types)

    def _counted(self, parts: "Sequence[TablePart]", looked: "Sequence[PartSurvey]") -> "np.ndarray":
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

    def _ragged(self, parts: Sequence[TablePart], looked: "Sequence[PartSurvey]") -> Iterator[tuple[str, str]]:
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
