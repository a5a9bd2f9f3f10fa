"""What the texts of a table are, where its profile does not tell: numbers that were written as text, or words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.column_types import Candidates
from cytotable_dagster.core.model.names import is_identity
from cytotable_dagster.core.model.text_kind import WORDS, TextKind, text_kind
from cytotable_dagster.core.sources.protocols import TableReader

if TYPE_CHECKING:
    import numpy as np

# Rows that tell of most text that it is no number.
_FEW = 64


def text_kinds(table: TableReader, candidates: Candidates, rows: "np.ndarray") -> dict[str, TextKind]:
    """The kind of each candidate column's values as numbers, in one pass over those that a few rows do not tell.

    Args:
        rows: all row numbers.
    """
    if table.tells_words:
        found = dict.fromkeys((*candidates.mixed, *candidates.texts), WORDS)
    elif len(rows) > _FEW:
        few = _kinds(table, candidates.texts, rows[:_FEW], candidates)
        found = {name: kind for name, kind in few.items() if kind.other or (kind.lossy and is_identity(name))}
    else:
        found = {}
    left = [name for name in (*candidates.keys, *candidates.mixed, *candidates.texts) if name not in found]
    return {**found, **_kinds(table, left, rows, candidates)}


def _kinds(table: TableReader, names: Sequence[str], rows: "np.ndarray", candidates: Candidates) -> dict[str, TextKind]:
    import pyarrow as pa

    if not names:
        return {}
    parts: list[list[pa.Array]] = [[] for _ in names]
    step = max(8_000_000 // len(names), 1)
    wanted = [rows[start : start + step] for start in range(0, len(rows), step)]
    for arrays, _ in table.batches(wanted, names, [pa.string()] * len(names)):
        for part, array in zip(parts, arrays, strict=True):
            part.append(array.unique())
    texts = {*candidates.texts, *filter(is_identity, candidates.mixed)}
    return {
        name: text_kind(pa.chunked_array(part, pa.string()), may_stay=name in texts)
        for name, part in zip(names, parts, strict=True)
    }
