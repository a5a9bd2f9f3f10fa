"""Which reader a table gets: its pages decoded where it is ordinary, else DuckDB's scanner. Both give equal values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.readers import TableReader
from cytotable_dagster.core.schema import TextKind, text_kind
from cytotable_dagster.core.sqlite_scan import ScanTable
from cytotable_dagster.core.types import Coercion, SourceColumn

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from cytotable_dagster.core.sqlite_pages import PageTable


@dataclass(frozen=True)
class PageReader:
    """A table whose pages are decoded; row numbers are its rowids."""

    table: "PageTable"
    keys: tuple[str, ...]

    reader = "pages"
    reason = ""

    @property
    def columns(self) -> tuple[SourceColumn, ...]:
        return self.table.columns

    def read_keys(self, others: Sequence[str]) -> "tuple[np.ndarray, list[pa.Array]]":
        return self.table.keys((*self.keys, *others))

    def profile(self) -> "np.ndarray":
        return self.table.profile()

    def batches(
        self, wanted: "Sequence[np.ndarray]", columns: Sequence[str], types: "Sequence[pa.DataType]"
    ) -> "Iterator[tuple[list[pa.Array], tuple[Coercion, ...]]]":
        for rows in wanted:
            yield self.table.read(rows, columns, types)


def open_table(
    path: Path, table: str, columns: tuple[SourceColumn, ...], keys: Sequence[str], scratch: Path
) -> TableReader:
    """A reader of the table whose rows `keys` identify.

    Args:
        scratch: a folder for what does not fit in memory; may not exist yet.

    Raises:
        DamagedSourceError: the file is broken.
    """
    from cytotable_dagster.core import sqlite_pages

    try:
        return PageReader(sqlite_pages.open_table(path, table), tuple(keys))
    except sqlite_pages.NotOrdinary as found:
        return ScanTable(path, table, columns, tuple(keys), scratch, found.reason)


def text_kinds(table: TableReader, candidates: Sequence[str], rows: "np.ndarray") -> dict[str, TextKind]:
    """The kind of each candidate column's values as numbers, in one pass over them; `rows` are all row numbers."""
    import pyarrow as pa

    if not candidates:
        return {}
    parts: list[list[pa.Array]] = [[] for _ in candidates]
    step = max(8_000_000 // len(candidates), 1)
    wanted = [rows[start : start + step] for start in range(0, len(rows), step)]
    for arrays, _ in table.batches(wanted, candidates, [pa.string()] * len(candidates)):
        for part, array in zip(parts, arrays, strict=True):
            part.append(array.unique())
    return {name: text_kind(pa.chunked_array(part, pa.string())) for name, part in zip(candidates, parts, strict=True)}
