"""TableNumbers of one plate in one form: whole numbers, or text in all tables where they are names in one of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cytotable_dagster.core.planning.chunks import TableKeys
from cytotable_dagster.core.planning.plan import TablePlan
from cytotable_dagster.core.sources.protocols import BatchReader

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# Rows that are read at once.
_ROWS = 1_000_000


def in_one_form(
    parts: Sequence[TablePlan], keys: Sequence[TableKeys], readers: Sequence[BatchReader], column: str | None
) -> tuple[list[TablePlan], list[TableKeys]]:
    """The tables and their keys with equal TableNumbers for equal values.

    Args:
        column: what the source calls the TableNumber; None where it has none.
    """
    if not any(_is_text(part, column) for part in parts):
        return list(parts), list(keys)
    made_keys = []
    for key, reader in zip(keys, readers, strict=True):
        found = key.table_numbers
        if found is not None and column is not None:
            found = _texts(reader, key.rows, column)
        made_keys.append(replace(key, table_numbers=found))
    return [_with_text(part, column) for part in parts], made_keys


def _is_text(part: TablePlan, column: str | None) -> bool:
    return any(own.source == column and own.read_type == "string" for own in part.columns)


def _with_text(part: TablePlan, column: str | None) -> TablePlan:
    columns = (own._replace(read_type="string", type="string") if own.source == column else own for own in part.columns)
    return replace(part, columns=tuple(columns))


def _texts(reader: BatchReader, rows: "np.ndarray", column: str) -> "pa.Array":
    """A column as it is written."""
    import pyarrow as pa

    wanted = [rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS)]
    pieces = [arrays[0] for arrays, _ in reader.batches(wanted, [column], [pa.string()])]
    return pa.concat_arrays(pieces) if pieces else pa.array([], pa.string())
