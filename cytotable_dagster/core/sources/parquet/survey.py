"""A plate's Parquet files as they are looked through for the first time: columns, keys, what there are values of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.names import ASKED_FOR
from cytotable_dagster.core.model.presets import IMAGE, Preset
from cytotable_dagster.core.model.types import SINGLE_CELLS, Coercion, SourceColumn, Unconverted
from cytotable_dagster.core.sources.parquet.copy import copied, needs_copy
from cytotable_dagster.core.sources.parquet.dialect import as_named, tables_at
from cytotable_dagster.core.sources.parquet.file import affinity_of, columns_of, footer
from cytotable_dagster.core.sources.parquet.table import ParquetTable, rows_in, save_parquet_table
from cytotable_dagster.core.sources.parquet.values import as_key
from cytotable_dagster.core.sources.protocols import Found
from cytotable_dagster.core.support.arrays import to_numpy

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_CLASSES = {"INTEGER": 1, "REAL": 2, "TEXT": 3, "BLOB": 4}


def find_parquet_tables(root: Path, preset: Preset, folder: Path) -> Found:
    """The tables of the plate in a Parquet file or a folder of them, by their footers.

    Args:
        folder: the plan's, for what the conversion reads again.

    Raises:
        SourceFormatError: a file is no Parquet file.
    """
    found, others = tables_at(root, preset)
    tables = {preset.table_of(table): _survey(table, files, preset, folder) for table, files in found.items()}
    unconverted = tuple(Unconverted(name, None, "named for no table that is converted", "") for name in others)
    return Found(tables, (), (), unconverted=unconverted)


@dataclass
class ParquetSurvey:
    """See `protocols.FilesReader`."""

    known: ParquetTable
    columns: tuple[SourceColumn, ...]
    keys: tuple[str, ...]
    folder: Path
    notes: tuple[str, ...] = ()

    reader = "parquet"
    reason = ""
    tells_words = False
    left_out = ()
    rows_left_out = 0

    def batches(
        self, wanted: "Sequence[np.ndarray]", columns: Sequence[str], types: "Sequence[pa.DataType]"
    ) -> "Iterator[tuple[list[pa.Array], tuple[Coercion, ...]]]":
        return self.known.batches(wanted, columns, types)

    def read_keys(self, others: Sequence[str]) -> "tuple[np.ndarray, list[pa.Array]]":
        import numpy as np

        values = [as_key(self.known.column(name), name) for name in (*self.keys, *others)]
        if needs_copy(self.known, len(self.columns), self._owners(values[: len(self.keys)])):
            self.known = copied(self.known, self.folder)
        save_parquet_table(self.known, self.folder)
        return np.arange(self.known.starts[-1]), values

    def profile(self) -> "np.ndarray":
        """Counts of storage classes, shape (columns, 5): all rows of a file are what its column's type says, or null
        where it has no value at all."""
        import numpy as np

        counts = np.zeros((len(self.columns), 5), np.int64)
        for path in map(Path, self.known.files):
            types, rows, empty = columns_of(path), footer(path).num_rows, _empty(path)
            for at, column in enumerate(self.columns):
                stored = self.known.stored.get(column.name, column.name)
                affinity = affinity_of(types[stored]) if stored in types and stored not in empty else None
                counts[at, _CLASSES.get(affinity or "", 0)] += rows
        return counts

    def _owners(self, keys: "Sequence[pa.Array]") -> "np.ndarray":
        """The piece of each row, rows in the order of their keys."""
        import numpy as np
        import pyarrow as pa

        rows = [piece.rows for piece in self.known.pieces]
        owners = np.repeat(np.arange(len(rows)), rows)
        numbers = [to_numpy(key) for key in keys if pa.types.is_integer(key.type)]
        return owners[np.lexsort(numbers[::-1])] if numbers else owners


def _survey(compartment: str, files: Sequence[Path], preset: Preset, folder: Path) -> ParquetSurvey:
    kinds: dict[str, str | None] = {}
    for path in files:
        for name, type in columns_of(path).items():
            # A column without values has no kind of its own.
            kinds[name] = affinity_of(type) if kinds.get(name, "BLOB") == "BLOB" else kinds[name]
    names = as_named(kinds, SINGLE_CELLS if preset.flat else compartment)
    # What stands in results under these names for readers, each table repeats.
    told = set(ASKED_FOR if preset.named and compartment != IMAGE else ()).difference(preset.keys_of(compartment))
    columns = tuple(
        SourceColumn(names[name], "", kind, told=name in told) for name, kind in kinds.items() if kind is not None
    )
    nested = ", ".join(name for name, kind in kinds.items() if kind is None)
    notes = (f"{compartment}: columns that hold no number or text were left out: {nested}",) if nested else ()
    stored = {here: name for name, here in names.items() if here != name}
    known = ParquetTable(compartment, tuple(map(str, files)), rows_in(files), stored)
    return ParquetSurvey(known, columns, preset.keys_of(compartment), folder, notes)


def _empty(path: Path) -> set[str]:
    """Columns without any value, as far as the footer tells."""
    known = footer(path)
    names = [known.schema.column(at).path for at in range(known.num_columns)]
    left = dict(enumerate(names))
    for group in range(known.num_row_groups):
        rows = known.row_group(group)
        for at in list(left):
            told = rows.column(at).statistics
            if told is None or not told.has_null_count or told.null_count < rows.num_rows:
                del left[at]
    return set(left.values())
