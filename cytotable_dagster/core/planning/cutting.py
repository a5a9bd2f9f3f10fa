"""How large the batches of a plate are, and where its chunks begin."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.model.types import SourceTable
from cytotable_dagster.core.planning import chunks
from cytotable_dagster.core.planning.options import Options

if TYPE_CHECKING:
    import numpy as np

# A batch is what is decoded and encoded at once, and one row group of a file: 64 MB of values, or 80 MB of the joined
# table, which is three times as wide; encoding a column chunk costs as much as encoding a thousand values more. Less
# where what is read lies beside the values (CSV, NPZ).
_BATCH_VALUES = 8_000_000
_JOINED_BATCH_VALUES, _JOINED_BATCH_VALUES_BESIDE = 10_000_000, 6_000_000
# What is kept as chunk files has fewer of them.
_BATCHES_PER_CHUNK = 2


def batch_size(found: Sequence[SourceTable], options: Options, *, keeps_beside: bool) -> int:
    """Objects of a batch: by the widest table, or by all that are held together to be joined."""
    if options.joined:
        sides = [table for table in found if table.compartment != IMAGE or options.image_features] or found
        values = _JOINED_BATCH_VALUES_BESIDE if keeps_beside else _JOINED_BATCH_VALUES
        return max(values // sum(len(table.columns) for table in sides), 1)
    return max(_BATCH_VALUES // max((len(table.columns) for table in found), default=1), 1)


def chunk_bounds(orders: "Mapping[str, chunks.RowOrder]", batch: int, options: Options) -> "np.ndarray":
    """Bounds of the chunks. Where they become one file, nobody sees that there are more than were asked for, and they
    are about equal, so that cores end their work together."""
    if options.chunks is not None:
        return chunks.cut_by_number(orders, options.chunks)
    if options.one_file and (options.chunk_size or batch) >= batch:
        return chunks.cut_evenly(orders, batch)
    return chunks.cut_by_size(orders, options.chunk_size or _BATCHES_PER_CHUNK * batch)
