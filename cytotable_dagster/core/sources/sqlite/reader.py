"""Opening tables: their own pages where they are ordinary, else those of a copy that SQLite makes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.types import Coercion, SourceColumn, SourceTable
from cytotable_dagster.core.sources.protocols import TableReader
from cytotable_dagster.core.sources.sqlite.ahead import known_keys, known_profile
from cytotable_dagster.core.sources.sqlite.copies import copy_table
from cytotable_dagster.core.sources.sqlite.pieces import PieceReader
from cytotable_dagster.core.support.files import inside

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from cytotable_dagster.core.sources.sqlite.pages import PageTable


@dataclass(frozen=True)
class PageReader:
    """A table whose pages are decoded; row numbers are its rowids. `reason` says why they are those of a copy."""

    table: "PageTable"
    keys: tuple[str, ...]
    reason: str = ""

    tells_words = False

    @property
    def reader(self) -> str:
        return "copy" if self.reason else "pages"

    @property
    def columns(self) -> tuple[SourceColumn, ...]:
        return self.table.columns

    def read_keys(self, others: Sequence[str]) -> "tuple[np.ndarray, list[pa.Array]]":
        columns = (*self.keys, *others)
        return known_keys(self.table.path, self.table.table, columns) or self.table.keys(columns)

    def profile(self) -> "np.ndarray":
        known = known_profile(self.table.path, self.table.table)
        return self.table.profile() if known is None else known

    def batches(
        self, wanted: "Sequence[np.ndarray]", columns: Sequence[str], types: "Sequence[pa.DataType]"
    ) -> "Iterator[tuple[list[pa.Array], tuple[Coercion, ...]]]":
        for rows in wanted:
            yield self.table.read(rows, columns, types)


def open_table(
    path: Path, table: SourceTable, keys: Sequence[str], copies: Path, wholes: "dict[str, PageTable]"
) -> TableReader:
    """A reader of the table whose rows `keys` identify.

    Args:
        copies: a folder for the copy of one that is out of the ordinary; may not exist yet.
        wholes: tables that are open already, as several compartments are parts of them; added to.

    Raises:
        DamagedSourceError: the file is broken.
        SourceFormatError: a view that does not end.
    """
    from cytotable_dagster.core.sources.sqlite.header import NotOrdinary

    if table.whole in wholes:
        return PieceReader(PageReader(wholes[table.whole], tuple(keys)), table, keys[-1])
    try:
        reader = open_pages(path, table, keys)
        if table.whole is not None:
            wholes[table.whole] = reader.table
    except NotOrdinary as found:
        copy_of(path, table, copies)
        reader = open_copy(table, keys, copies, found.reason)
    return reader if table.whole is None else PieceReader(reader, table, keys[-1])


def open_pages(path: Path, table: SourceTable, keys: Sequence[str], reason: str = "") -> PageReader:
    """A reader of the file's own pages; raises `header.NotOrdinary`, too."""
    from cytotable_dagster.core.sources.sqlite import pages as sqlite_pages

    return PageReader(sqlite_pages.open_table(path, table.stored), tuple(keys), reason)


def copy_of(path: Path, table: SourceTable, copies: Path) -> None:
    """Copy a table to where `open_copy` finds it."""
    copy_table(path, table.stored, table.column_names, _copy(copies, table))


def open_copy(table: SourceTable, keys: Sequence[str], copies: Path, reason: str) -> PageReader:
    """A reader of the copy that `open_table` made."""
    return open_pages(_copy(copies, table), table, keys, reason)


def _copy(copies: Path, table: SourceTable) -> Path:
    return inside(copies, f"{table.compartment}.sqlite")
