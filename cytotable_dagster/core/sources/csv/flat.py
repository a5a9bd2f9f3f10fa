"""CSV files that are one table, whatever they are called, and number neither images nor files: those of IN Carta.

Its reader adds two columns: the file of each row, and the number of its image, which is told by the file and the
columns that the preset names (`Preset.image_parts`); images are numbered as they come, files sorted by name.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import SourceFormatError, SourceNotFoundError
from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.model.types import Coercion, SourceColumn
from cytotable_dagster.core.shown import counted
from cytotable_dagster.core.sources.csv.dialect import CsvFormat
from cytotable_dagster.core.sources.csv.exports import Export
from cytotable_dagster.core.sources.csv.header import Header
from cytotable_dagster.core.sources.csv.survey import CsvSurvey
from cytotable_dagster.core.sources.csv.table import CsvTable, csv_table_path, load_table
from cytotable_dagster.core.sources.csv.tables import settled_dialects
from cytotable_dagster.core.sources.protocols import BatchReader, Found
from cytotable_dagster.core.support.arrays import from_numpy, from_texts
from cytotable_dagster.core.support.files import whole_file
from cytotable_dagster.core.support.integer_file import load_integers, save_integers

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SOURCE = "Metadata_CSVSource"
# Columns told by name of those that some files lack.
_NAMED = 3


def find_flat_table(
    root: Path, files: Sequence[tuple[str, Path]], preset: Preset, format: CsvFormat, folder: Path
) -> Found:
    """The table of the plate in these files, by their headers.

    Args:
        files: names as of `root`, and paths.
        folder: as of `survey.find_tables`.

    Raises:
        SourceNotFoundError: there are no files with a header.
        SourceFormatError: one is something else.
    """
    (compartment,) = preset.compartments
    own = tuple(key for key in preset.keys_of(compartment) if key != preset.image_number)
    survey = CsvSurvey(compartment, own, format, folder)
    skipped, names = [], []
    for name, path in files:
        known = len(survey.headers)
        reason = survey.add(Export(Path(name).parent.as_posix(), {compartment: path}), None)
        if reason is not None:
            skipped.append((name, reason))
        if len(survey.headers) > known:
            names.append(name)
    if not survey.headers:
        told = f": {skipped[0][0]} is {skipped[0][1]}" if skipped else ""
        raise SourceNotFoundError(f"{root}: no CSV files with anything in them{told}")
    for header, name in zip(survey.headers, names, strict=True):
        _check_header(header, preset, own, root, name)
    notes = (*settled_dialects([survey]), *_differing(survey.headers, names))
    return Found({preset.table: FlatSurvey(survey, preset)}, tuple(skipped), notes)


@dataclass
class FlatSurvey:
    """The table as it is looked through for the first time; see `protocols.FilesReader`."""

    inner: CsvSurvey
    preset: Preset

    reader = "csv"
    reason = ""
    tells_words = True

    @property
    def columns(self) -> tuple[SourceColumn, ...]:
        return (*_added(self.preset), *self.inner.columns)

    @property
    def notes(self) -> Sequence[str]:
        return self.inner.notes

    @property
    def left_out(self) -> Sequence[tuple[str, str]]:
        return self.inner.left_out

    @property
    def rows_left_out(self) -> int:
        return self.inner.rows_left_out

    def read_keys(self, others: Sequence[str]) -> "tuple[np.ndarray, list[pa.Array]]":

        own, parts = len(self.inner.keys), self.preset.image_parts
        rows, values = self.inner.read_keys((*others, *parts))
        known = load_table(csv_table_path(self.inner.folder, self.inner.table))
        images = _numbered([_files_of_rows(known)[0], *map(_codes, values[len(values) - len(parts) :])])
        with whole_file(_images_path(self.inner.folder, self.inner.table)) as temporary:
            save_integers(temporary, images)
        return rows, [from_numpy(images), *values[: own + len(others)]]

    def profile(self) -> "np.ndarray":
        """Counts of storage classes, shape (columns, 5)."""
        import numpy as np

        inner = self.inner.profile()
        rows = int(inner[0].sum())
        return np.concatenate([[[0, rows, 0, 0, 0], [0, 0, 0, rows, 0]], inner])

    def batches(
        self, wanted: "Sequence[np.ndarray]", columns: Sequence[str], types: "Sequence[pa.DataType]"
    ) -> "Iterator[tuple[list[pa.Array], tuple[Coercion, ...]]]":
        return load_flat_table(self.inner.folder, self.inner.table, self.preset).batches(wanted, columns, types)


@dataclass(frozen=True)
class FlatTable:
    """The table open for reading; see `protocols.BatchReader`."""

    inner: CsvTable
    images: "np.ndarray"
    image_number: str

    def batches(
        self, wanted: "Sequence[np.ndarray]", columns: Sequence[str], types: "Sequence[pa.DataType]"
    ) -> "Iterator[tuple[list[pa.Array], tuple[Coercion, ...]]]":
        """For each array of row numbers, the columns of those rows; a row number of -1 is a row of nulls."""
        import pyarrow as pa

        numbers, names = _files_of_rows(self.inner)
        added = {
            self.image_number: from_numpy(self.images),
            SOURCE: pa.DictionaryArray.from_arrays(from_numpy(numbers), from_texts(names)),
        }
        asked = [(name, type) for name, type in zip(columns, types, strict=True) if name not in added]
        inner = self.inner.batches(wanted, [name for name, _ in asked], [type for _, type in asked])
        for rows, (arrays, coercions) in zip(wanted, inner, strict=True):
            at = from_numpy(rows, rows >= 0)
            read = iter(arrays)
            yield (
                [
                    added[name].take(at).cast(type) if name in added else next(read)
                    for name, type in zip(columns, types, strict=True)
                ],
                coercions,
            )


def load_flat_table(folder: Path, compartment: str, preset: Preset) -> BatchReader:
    """The table of which `FlatSurvey.read_keys` kept what it learned in a plan's folder."""
    images = load_integers(_images_path(folder, compartment))
    return FlatTable(load_table(csv_table_path(folder, compartment)), images, preset.image_number)


def _images_path(folder: Path, compartment: str) -> Path:
    return folder / f"{compartment}.images.int64"


def _added(preset: Preset) -> tuple[SourceColumn, SourceColumn]:
    return SourceColumn(preset.image_number, "", "INTEGER"), SourceColumn(SOURCE, "", "TEXT")


def _check_header(header: Header, preset: Preset, keys: Sequence[str], root: Path, name: str) -> None:
    for key in keys:
        if key not in header.names:
            told = ", ".join(header.names[:_NAMED])
            raise SourceFormatError(
                f"{root}: {name} has no column {key}, the key of preset {preset.name} (it starts with {told}); "
                "move it elsewhere, or use another preset="
            )
    for column in _added(preset):
        if column.name in header.names:
            raise SourceFormatError(f"{root}: {name} has a column {column.name} of its own; rename it")


def _differing(headers: Sequence[Header], names: Sequence[str]) -> tuple[str, ...]:
    """A note for each kind of file that lacks columns of the table, where they become null."""
    every = dict.fromkeys(name for header in headers for name in header.names)
    notes = []
    for header, name in zip(headers, names, strict=True):
        lacking = [column for column in every if column not in header.names]
        if lacking:
            told = ", ".join(lacking[:_NAMED]) + (", ..." if len(lacking) > _NAMED else "")
            notes.append(f"{name} lacks {counted(len(lacking), 'column')} that other files have, null there: {told}")
    return tuple(notes)


def _files_of_rows(table: CsvTable) -> "tuple[np.ndarray, list[str]]":
    """The number of each row's file, and the files' names."""
    import numpy as np

    names = {name: number for number, name in enumerate(dict.fromkeys(part.name for part in table.parts))}
    numbers = [names[part.name] for part in table.parts]
    rows = np.repeat(np.array(numbers, np.int64), [part.rows for part in table.parts])
    return rows, [Path(name).name for name in names]


def _codes(values: "pa.Array") -> "np.ndarray":
    """Equal values as equal numbers, missing ones as a number too."""
    codes: np.ndarray = values.dictionary_encode(null_encoding="encode").indices.to_numpy()
    return codes


def _numbered(parts: "Sequence[np.ndarray]") -> "np.ndarray":
    """For each row the number of its image, from 1, in the order in which they come."""
    import numpy as np

    if not len(parts[0]):
        return np.zeros(0, np.int64)
    _, first, inverse = np.unique(np.stack(parts), axis=1, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse.reshape(-1)].astype(np.int64) + 1
