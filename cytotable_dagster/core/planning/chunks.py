"""The plan of a conversion's work: which rows of each table belong to which image, and which images to which chunk.

One pass over the keys of each table makes it. Rows are named by the reader's row numbers, in the order of the
result: (TableNumber, ImageNumber, ObjectNumber), whatever their order in the file.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import KeyColumnError
from cytotable_dagster.core.model.types import Link, SourceTable
from cytotable_dagster.core.model.values import as_example, told
from cytotable_dagster.core.support.arrays import from_numpy, to_numpy, valid_mask

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True)
class TableKeys:
    """Keys of a table's rows: row numbers, table numbers (None where the dialect has none), image numbers,
    object numbers (None for images), and the columns of parents' object numbers; all of one length."""

    table: SourceTable
    rows: "np.ndarray"
    table_numbers: "pa.Array | None"
    image_numbers: "pa.Array"
    object_numbers: "pa.Array | None"
    parents: "Mapping[str, pa.Array]" = field(default_factory=dict)


@dataclass(frozen=True)
class RowOrder:
    """A table's row numbers in the order of the result, and how many of them each image has.

    `rows` is int64 of shape (rows,), `counts` int64 of shape (images,); `objects` are object numbers and `parents`
    the parents' object numbers by column (nulls where there is none), in the order of `rows`.
    """

    rows: "np.ndarray"
    counts: "np.ndarray"
    objects: "np.ndarray | None" = None
    parents: "Mapping[str, pa.Array]" = field(default_factory=dict)

    @property
    def images(self) -> "np.ndarray":
        """The image ordinal of each row."""
        import numpy as np

        return np.repeat(np.arange(len(self.counts)), self.counts)


def order_rows(keys: Sequence[TableKeys]) -> tuple[dict[str, RowOrder], int]:
    """Each compartment's rows by image, over the images of all tables, and the number of images.

    Raises:
        KeyColumnError: a key is missing, is no whole number, or is shared by two rows; the message names one.
    """
    import numpy as np

    if not keys:
        return {}, 0
    tables = _common_table_numbers(keys)
    runs = [_runs(tables[key.table.compartment], _integers(key, key.image_numbers, "image")) for key in keys]
    heads = np.concatenate([pairs for pairs, _ in runs], axis=1)
    distinct, inverse = np.unique(heads, axis=1, return_inverse=True)
    ends = np.cumsum([pairs.shape[1] for pairs, _ in runs])[:-1]
    result = {}
    for key, (_, lengths), head in zip(keys, runs, np.split(inverse.reshape(-1), ends), strict=True):
        objects = None if key.object_numbers is None else _integers(key, key.object_numbers, "object")
        ordinals = np.repeat(head, lengths)
        result[key.table.compartment] = _row_order(key, ordinals, objects, distinct.shape[1])
    return result, distinct.shape[1]


def match_linked(child: RowOrder, parent: RowOrder, link: Link) -> "np.ndarray | None":
    """For each row of the child the position of its parent in the parent's order, -1 where it has none; None where two
    rows of the parent's have one number in an image."""
    import numpy as np

    wanted = child.parents[link.column]
    if link.parent_column is None:
        return _match_objects(child, parent, wanted)
    theirs = parent.parents[link.parent_column]
    numbers = to_numpy(theirs)
    # CellProfiler's 0 is no parent.
    known = np.flatnonzero(valid_mask(theirs) & (numbers > 0))
    known = known[np.lexsort((numbers[known], parent.images[known]))]
    images, numbers = parent.images[known], numbers[known]
    if ((np.diff(images) == 0) & (np.diff(numbers) == 0)).any():
        return None
    counts = np.bincount(images, minlength=len(parent.counts))
    match = _match_objects(child, RowOrder(known, counts, numbers), wanted)
    found: np.ndarray = np.append(known, -1)[match]
    return found


def _match_objects(base: RowOrder, partner: RowOrder, parents: "pa.Array") -> "np.ndarray":
    """For each row of the base the position of its partner in the partner's order, -1 where it has none.

    Args:
        parents: the object number of each base row's partner in the same image; null where there is none.
    """
    import numpy as np

    if partner.objects is None or not len(partner.rows):
        return np.full(len(base.rows), -1)
    # Image and object number as one number, by way of the object numbers that occur.
    numbers = np.unique(partner.objects)
    own = partner.images * len(numbers) + np.searchsorted(numbers, partner.objects)
    wanted = to_numpy(parents)
    known = np.minimum(np.searchsorted(numbers, wanted), len(numbers) - 1)
    code = base.images * len(numbers) + known
    at = np.minimum(np.searchsorted(own, code), len(own) - 1)
    found = (numbers[known] == wanted) & (own[at] == code) & valid_mask(parents)
    return np.where(found, at, -1)


def match_images(base: RowOrder, image: RowOrder) -> "np.ndarray":
    """For each row of the base the position of its image in the image table's order, -1 where it has none."""
    import numpy as np

    starts = np.cumsum(image.counts) - image.counts
    found: np.ndarray = np.where(image.counts > 0, starts, -1)[base.images]
    return found


def no_bounds() -> "np.ndarray":
    """Bounds of no chunks at all, where there are no images."""
    import numpy as np

    return np.zeros(1, np.int64)


def cut_by_size(orders: Mapping[str, RowOrder], chunk_size: int) -> "np.ndarray":
    """Bounds of chunks that aim at `chunk_size` objects each: image ordinals, one more than there are chunks.

    An image is never divided, so that a chunk has fewer objects, or more where one image alone does.
    """
    import numpy as np

    objects = _objects_per_image(orders)
    bounds = [0]
    held = 0
    for image, count in enumerate(objects.tolist()):
        if held and held + count > chunk_size:
            bounds.append(image)
            held = 0
        held += count
    return np.array([*bounds, len(objects)] if len(objects) else [0, 0], dtype=np.int64)


def cut_evenly(orders: Mapping[str, RowOrder], most: int) -> "np.ndarray":
    """Bounds of chunks of at most so many objects (where no image alone has more), about equal by objects."""
    objects = _objects_per_image(orders)
    total, largest = int(objects.sum()), int(objects.max(initial=0))
    if total <= most or largest >= most:
        return cut_by_size(orders, most)
    # A share exceeds the others by less than an image.
    return _shares(objects, math.ceil(total / (most - largest)))


def cut_by_number(orders: Mapping[str, RowOrder], chunks: int) -> "np.ndarray":
    """Bounds of exactly `chunks` contiguous shares of the images, about equal by objects; a share may be empty."""
    return _shares(_objects_per_image(orders) + 1, chunks)


def _shares(weights: "np.ndarray", number: int) -> "np.ndarray":
    """Bounds of contiguous shares of about equal weight."""
    import numpy as np

    total = np.concatenate([[0], np.cumsum(weights)])
    shares = np.searchsorted(total, np.linspace(0, total[-1], number + 1), side="left")
    shares[0], shares[-1] = 0, len(weights)
    return shares.astype(np.int64)


def cut_batches(
    orders: Mapping[str, RowOrder], chunk_bounds: "np.ndarray", batch_size: int
) -> tuple[tuple[int, ...], ...]:
    """For each chunk the bounds of its batches, as image ordinals; a batch aims at `batch_size` objects."""
    batches = []
    for first, last in zip(chunk_bounds[:-1].tolist(), chunk_bounds[1:].tolist(), strict=True):
        part = {name: RowOrder(order.rows, order.counts[first:last]) for name, order in orders.items()}
        batches.append(tuple(int(first + bound) for bound in cut_by_size(part, batch_size)))
    return tuple(batches)


def _objects_per_image(orders: Mapping[str, RowOrder]) -> "np.ndarray":
    import numpy as np

    most: np.ndarray = np.max(np.stack([order.counts for order in orders.values()]), axis=0)
    return most


def _common_table_numbers(keys: Sequence[TableKeys]) -> "dict[str, np.ndarray]":
    """Table numbers as integers that sort and compare alike in all tables, be they numbers or text."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    known = [key for key in keys if key.table_numbers is not None]
    if all(pa.types.is_integer(key.table_numbers.type) for key in known if key.table_numbers is not None):
        found = {
            key.table.compartment: _integers(key, key.table_numbers, "table")
            for key in known
            if key.table_numbers is not None
        }
    else:
        # Arrow's texts take the room of their own length; NumPy's all take that of the longest.
        texts = {k.table.compartment: _texts(k) for k in known}
        distinct = pa.chunked_array(list(texts.values())).unique()
        distinct = distinct.take(pc.sort_indices(distinct))
        found = {name: to_numpy(pc.index_in(text, distinct).cast(pa.int64())) for name, text in texts.items()}
    return {k.table.compartment: found.get(k.table.compartment, np.zeros_like(k.rows)) for k in keys}


def _texts(key: TableKeys) -> "pa.Array":
    import pyarrow as pa

    assert key.table_numbers is not None
    _refuse_nulls(key, key.table_numbers, "table")
    return key.table_numbers.cast(pa.string())


def _integers(key: TableKeys, values: "pa.Array", what: str) -> "np.ndarray":
    import pyarrow as pa

    _refuse_nulls(key, values, what)
    if not pa.types.is_integer(values.type):
        raise KeyColumnError(
            f"{key.table.name}: its {what} numbers are not whole numbers (one is {as_example(values[0].as_py())})"
        )
    return to_numpy(values)


def _refuse_nulls(key: TableKeys, values: "pa.Array", what: str) -> None:
    if values.null_count:
        raise KeyColumnError(
            f"{key.table.name}: {values.null_count} of {len(values)} rows have no {what} number, "
            "so they belong to no image; mend the source"
        )


def _runs(table: "np.ndarray", image: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """Where rows of one image lie together: the (table, image) pairs, shape (2, runs), and the runs' lengths.

    The rows of a plate mostly do, so that sorting runs is far less than sorting rows.
    """
    import numpy as np

    pairs = np.stack([table, image])
    starts = np.concatenate([[0], np.flatnonzero((np.diff(pairs) != 0).any(axis=0)) + 1])
    starts = starts[: pairs.shape[1]]
    return pairs[:, starts], np.diff(np.append(starts, pairs.shape[1]))


def _row_order(key: TableKeys, ordinals: "np.ndarray", objects: "np.ndarray | None", images: int) -> RowOrder:
    import numpy as np

    sort_keys = [key.rows, ordinals] if objects is None else [key.rows, objects, ordinals]
    order = np.lexsort(sort_keys)
    same = np.diff(ordinals[order]) == 0
    if objects is not None:
        same &= np.diff(objects[order]) == 0
    if same.any():
        raise KeyColumnError(_duplicate_message(key, order, int(same.argmax()), int(same.sum())))
    return RowOrder(
        rows=key.rows[order],
        counts=np.bincount(ordinals, minlength=images),
        objects=None if objects is None else objects[order],
        parents={column: values.take(from_numpy(order)) for column, values in key.parents.items()},
    )


def _duplicate_message(key: TableKeys, order: "np.ndarray", at: int, number: int) -> str:
    row = int(order[at])
    named = (
        ("TableNumber", key.table_numbers),
        ("ImageNumber", key.image_numbers),
        ("ObjectNumber", key.object_numbers),
    )
    shared = ", ".join(f"{name} {told(values[row].as_py())}" for name, values in named if values is not None)
    return (
        f"{key.table.name}: {number} rows repeat the key of another, one of them {shared}; "
        "two exports in one table need a TableNumber that tells them apart"
    )
