"""What is asked of a source's tables, whatever they lie in."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cytotable_dagster.core.model.types import Coercion, SourceColumn, SourceTable, Unconverted

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class BatchReader(Protocol):
    """A table open for reading what is known of it."""

    def batches(
        self, wanted: "Sequence[np.ndarray]", columns: Sequence[str], types: "Sequence[pa.DataType]"
    ) -> "Iterator[tuple[list[pa.Array], tuple[Coercion, ...]]]":
        """For each array of row numbers, the columns of those rows; a row number of -1 is a row of nulls.

        The arrays follow each other in key order; within one, rows may come in any order and repeat.
        """
        ...


class TableReader(BatchReader, Protocol):
    """A table that is looked through for the first time. `reader` is `pages`, `copy`, `csv`, `npz` or `parquet`,
    `reason` why it is `copy` (else empty); what `tells_words` counts as text is known to be no number."""

    @property
    def reader(self) -> str: ...

    @property
    def reason(self) -> str: ...

    @property
    def tells_words(self) -> bool: ...

    @property
    def columns(self) -> tuple[SourceColumn, ...]: ...

    def read_keys(self, others: Sequence[str]) -> "tuple[np.ndarray, list[pa.Array]]":
        """Row numbers, and the values of the key columns and of these others."""
        ...

    def profile(self) -> "np.ndarray":
        """Counts of storage classes, shape (columns, 5)."""
        ...


class FilesReader(TableReader, Protocol):
    """A table that lies in many files: `notes` tell what was odd in them, `left_out` what was not read and why,
    `rows_left_out` how many rows that were."""

    @property
    def notes(self) -> Sequence[str]: ...

    @property
    def left_out(self) -> Sequence[tuple[str, str]]: ...

    @property
    def rows_left_out(self) -> int: ...


# Files told one by one of those that one thing is true of.
_TOLD = 3


def summed_up(skipped: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Files and why nothing was read of them; those of one name, or else of any, for one reason in one line where they
    are many."""
    names = Counter(_bare(file) for file, _ in skipped)
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file, reason in skipped:
        name = _bare(file)
        alike[name if names[name] > 1 else "", reason].append(file)
    told: list[tuple[str, str]] = []
    for (_, reason), files in alike.items():
        if len(files) <= _TOLD:
            told.extend((file, reason) for file in files)
        else:
            told.append((f"{files[0]} and {len(files) - 1:,} more", reason))
    return tuple(told)


def _bare(file: str) -> str:
    return file.rpartition("/")[2]


@dataclass(frozen=True)
class Found:
    """The files of a plate: their tables by name, files that were left out and why, what else is to be told, and how
    many rows were left out of what the tables are made of; tables that are taken whole, by kind (see `unconverted`),
    and what nothing is made of."""

    tables: Mapping[str, FilesReader]
    skipped: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    rows: int = 0
    others: Mapping[str, FilesReader] = field(default_factory=dict)
    unconverted: tuple[Unconverted, ...] = ()

    def all_notes(self) -> tuple[str, ...]:
        """With those of the tables that were looked through."""
        return (*self.notes, *(note for table in self.tables.values() for note in table.notes))

    def all_skipped(self) -> tuple[tuple[str, str], ...]:
        """With the records that were left out of the tables that were looked through; what is true of many files in
        one line."""
        return (*summed_up(self.skipped), *(record for table in self.tables.values() for record in table.left_out))

    def skipped_rows(self) -> int:
        """How many rows were left out of files that were read."""
        return self.rows + sum(table.rows_left_out for table in self.tables.values())


@dataclass(frozen=True)
class Told:
    """What is to be said of a plate once its tables were looked through: notes, files and records that were left out
    and why, how many rows those were, and tables that nothing is made of."""

    notes: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    skipped_rows: int = 0
    unconverted: tuple[Unconverted, ...] = ()


class OpenPlate(Protocol):
    """A plate of any kind: its tables by name, and those that are taken whole by kind (see `unconverted`). Where it
    `keeps_beside`, what is read lies in memory beside the values that are made of it."""

    @property
    def tables(self) -> Mapping[str, tuple[SourceColumn, ...]]: ...

    @property
    def others(self) -> Mapping[str, SourceTable]: ...

    @property
    def keeps_beside(self) -> bool: ...

    def open(self, table: SourceTable, keys: Sequence[str]) -> TableReader:
        """A table to be looked through, whose rows `keys` identify.

        Raises:
            DamagedSourceError: the file is broken. SourceFormatError: a view that does not end.
        """
        ...

    def told(self, there: Sequence[SourceTable], whole: Sequence[SourceTable]) -> Told:
        """What is to be said, given the tables of the preset that are there and those taken whole."""
        ...
