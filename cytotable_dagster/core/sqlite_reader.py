"""Which reader a table gets: its pages decoded where it is ordinary, else DuckDB's scanner. Both give equal values."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cytotable_dagster.core.schema import TextKind, text_kind
from cytotable_dagster.core.sqlite_scan import ScanTable
from cytotable_dagster.core.types import Coercion, SourceColumn

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class TableReader(Protocol):
    """A table open for reading. `reader` is `pages` or `scan`, `reason` why it is not `pages` (else empty)."""

    @property
    def reader(self) -> str: ...

    @property
    def reason(self) -> str: ...

    @property
    def columns(self) -> tuple[SourceColumn, ...]: ...

    def read_keys(self) -> "tuple[np.ndarray, list[pa.Array]]":
        """Row numbers, and the values of the key columns."""
        ...

    def profile(self) -> "np.ndarray":
        """Counts of storage classes, shape (columns, 5)."""
        ...

    def batches(
        self, wanted: "Sequence[np.ndarray]", columns: Sequence[str], types: "Sequence[pa.DataType]"
    ) -> "Iterator[tuple[list[pa.Array], tuple[Coercion, ...]]]":
        """For each array of row numbers, the columns of those rows."""
        ...


def open_table(
    path: Path, table: str, columns: tuple[SourceColumn, ...], keys: Sequence[str], scratch: Path
) -> TableReader:
    """A reader of the table whose rows `keys` identify.

    Args:
        scratch: a folder for what does not fit in memory; may not exist yet.
    """
    return ScanTable(path, table, columns, tuple(keys), scratch, "no page reader")


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
