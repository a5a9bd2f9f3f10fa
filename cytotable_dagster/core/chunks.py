"""The plan of a conversion's work: which rows of each table belong to which image, and which images to which chunk.

One pass over the keys of each table makes it. Rows are named by the reader's row numbers, in the order of the
result: (TableNumber, ImageNumber, ObjectNumber), whatever their order in the file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import KeyColumnError
from cytotable_dagster.core.types import SourceTable

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True)
class TableKeys:
    """Keys of a table's rows: row numbers, table numbers (None where the dialect has none), image numbers,
    object numbers (None for images); all of one length."""

    table: SourceTable
    rows: "np.ndarray"
    table_numbers: "pa.Array | None"
    image_numbers: "pa.Array"
    object_numbers: "pa.Array | None"


@dataclass(frozen=True)
class RowOrder:
    """A table's row numbers in the order of the result, and how many of them each image has.

    `rows` is int64 of shape (rows,), `counts` int64 of shape (images,).
    """

    rows: "np.ndarray"
    counts: "np.ndarray"


def order_rows(keys: Sequence[TableKeys]) -> tuple[dict[str, RowOrder], int]:
    """Each compartment's rows by image, over the images of all tables, and the number of images.

    Raises:
        KeyColumnError: a key is missing, is no whole number, or is shared by two rows; the message names one.
    """
    import numpy as np

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


def cut_by_number(orders: Mapping[str, RowOrder], chunks: int) -> "np.ndarray":
    """Bounds of exactly `chunks` contiguous shares of the images, about equal by objects; a share may be empty."""
    import numpy as np

    weights = _objects_per_image(orders) + 1
    total = np.concatenate([[0], np.cumsum(weights)])
    shares = np.searchsorted(total, np.linspace(0, total[-1], chunks + 1), side="left")
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

    return np.max(np.stack([order.counts for order in orders.values()]), axis=0)


def _common_table_numbers(keys: Sequence[TableKeys]) -> "dict[str, np.ndarray]":
    """Table numbers as integers that sort and compare alike in all tables, be they numbers or text."""
    import numpy as np
    import pyarrow as pa

    known = [key for key in keys if key.table_numbers is not None]
    if all(pa.types.is_integer(key.table_numbers.type) for key in known if key.table_numbers is not None):
        found = {
            key.table.compartment: _integers(key, key.table_numbers, "table")
            for key in known
            if key.table_numbers is not None
        }
    else:
        texts = {k.table.compartment: _texts(k) for k in known}
        distinct = np.unique(np.concatenate(list(texts.values())))
        found = {name: np.searchsorted(distinct, text) for name, text in texts.items()}
    return {k.table.compartment: found.get(k.table.compartment, np.zeros_like(k.rows)) for k in keys}


def _texts(key: TableKeys) -> "np.ndarray":
    import pyarrow as pa

    assert key.table_numbers is not None
    _refuse_nulls(key, key.table_numbers, "table")
    return key.table_numbers.cast(pa.string()).to_numpy(zero_copy_only=False).astype("U")


def _integers(key: TableKeys, values: "pa.Array", what: str) -> "np.ndarray":
    import pyarrow as pa

    _refuse_nulls(key, values, what)
    if not pa.types.is_integer(values.type):
        raise KeyColumnError(
            f"{key.table.name}: its {what} numbers are not whole numbers (one is {values[0].as_py()!r})"
        )
    return values.to_numpy(zero_copy_only=False)


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
    return RowOrder(key.rows[order], np.bincount(ordinals, minlength=images))


def _duplicate_message(key: TableKeys, order: "np.ndarray", at: int, number: int) -> str:
    row = int(order[at])
    named = (
        ("TableNumber", key.table_numbers),
        ("ImageNumber", key.image_numbers),
        ("ObjectNumber", key.object_numbers),
    )
    shared = ", ".join(f"{name} {values[row].as_py()}" for name, values in named if values is not None)
    return (
        f"{key.table.name}: {number} rows repeat the key of another, one of them {shared}; "
        "two exports in one table need a TableNumber that tells them apart"
    )
