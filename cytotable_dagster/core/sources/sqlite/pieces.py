"""The objects of a table that holds all of an image's side by side, each as a table of its own: its own columns, and
the rows in which there is one. Their pages are those of the whole table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.column_types import INTEGER, REAL
from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.model.types import Coercion, SourceColumn, SourceTable
from cytotable_dagster.core.sources.protocols import TableReader
from cytotable_dagster.core.sources.sqlite.tables import SHARED_NUMBER, objects_in, owner_of
from cytotable_dagster.core.support.arrays import from_numpy, to_numpy, valid_mask

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# Values that are read at once where objects have no column that numbers them.
_VALUES = 8_000_000
# What is written where there is no value.
_MISSING = r"(?i)^\s*(nan|null)?\s*$"


def piece_of(table: SourceTable, preset: Preset) -> SourceTable | None:
    """The part of the whole table that is of its compartment; None where none of its columns is.

    Columns that are of no object, but for the number that all share, are of each.
    """
    objects = objects_in(table.column_names)
    owners = {name: owner_of(name, objects) for name in table.column_names}
    if table.compartment not in owners.values():
        return None
    keys = preset.keys_of(table.compartment)
    own = tuple(
        column
        for column in table.columns
        if owners[column.name] == table.compartment
        or column.name in keys
        or (owners[column.name] is None and column.name != SHARED_NUMBER)
    )
    return SourceTable(table.compartment, f"{table.name} ({table.compartment})", own, whole=table.name)


@dataclass(frozen=True)
class PieceReader:
    """One object's part of a table that `inner` reads all of; `key` is the column that numbers the objects."""

    inner: TableReader
    table: SourceTable
    key: str

    @property
    def tells_words(self) -> bool:
        return self.inner.tells_words

    @property
    def reader(self) -> str:
        return self.inner.reader

    @property
    def reason(self) -> str:
        return self.inner.reason

    @property
    def columns(self) -> tuple[SourceColumn, ...]:
        return self.table.columns

    def read_keys(self, others: Sequence[str]) -> "tuple[np.ndarray, list[pa.Array]]":
        import numpy as np

        rows, values = self.inner.read_keys(others)
        # An object's keys end in its number, which shorter objects than others of the image have none of.
        there = valid_mask(values[-1 - len(others)]) if self.key != SHARED_NUMBER else self._measured(rows)
        places = np.flatnonzero(there)
        return rows[places], [array.take(from_numpy(places)) for array in values]

    def profile(self) -> "np.ndarray":
        counts = self.inner.profile()
        places = {column.name: place for place, column in enumerate(self.inner.columns)}
        found: np.ndarray = counts[[places[name] for name in self.table.column_names]]
        own = [column.name.startswith(f"{self.table.compartment}_") for column in self.table.columns]
        # Rows of others are no rows of a table that has none.
        return found if found[own, INTEGER:].any() else found * 0

    def batches(
        self, wanted: "Sequence[np.ndarray]", columns: Sequence[str], types: "Sequence[pa.DataType]"
    ) -> "Iterator[tuple[list[pa.Array], tuple[Coercion, ...]]]":
        return self.inner.batches(wanted, columns, types)

    def _measured(self, rows: "np.ndarray") -> "np.ndarray":
        """Which rows have any value of the object's own."""
        import numpy as np
        import pyarrow as pa

        kinds = [
            (name, pa.float64() if counts[INTEGER] or counts[REAL] else pa.string())
            for name, counts in zip(self.table.column_names, self.profile(), strict=True)
            if name.startswith(f"{self.table.compartment}_") and counts[INTEGER:].any()
        ]
        found = np.zeros(len(rows), bool)
        step = max(_VALUES // max(len(kinds), 1), 1)
        starts = range(0, len(rows), step) if kinds else ()
        batches = self.inner.batches(
            [rows[at : at + step] for at in starts], [name for name, _ in kinds], [kind for _, kind in kinds]
        )
        for at, (arrays, _) in zip(starts, batches, strict=True):
            for array in arrays:
                found[at : at + len(array)] |= _has_value(array)
        return found


def _has_value(array: "pa.Array") -> "np.ndarray":
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    found = valid_mask(array)
    if array.type == pa.float64():
        found &= ~np.isnan(to_numpy(array))
        return found
    words = array.filter(array.is_valid())
    found[found] = to_numpy(pc.match_substring_regex(words, _MISSING).cast(pa.uint8())) == 0
    return found
