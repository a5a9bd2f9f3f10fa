"""Row groups of a Parquet footer with their file offsets moved; compiled, as a wide plate has a million of them."""

import numpy as np

from cytotable_dagster.core.kernels.loading import call
from cytotable_dagster.core.kernels.parquet_layout import AT, COUNT, DEPTH, FIRST, MEANING, SHIFT, WRITTEN

_MALFORMED = "the footer of a Parquet file is not well formed"


def moved_groups(footer: bytes, start: int, shift: int, ordinal: int) -> tuple[bytes, int]:
    """The items of the row group list that starts at `start`, moved by `shift` bytes, numbered from `ordinal`.

    Returns:
        The encoded items, and how many there are.

    Raises:
        ValueError: the footer is not well formed.
    """
    source = np.frombuffer(footer, np.uint8)
    task = np.zeros(8, np.int64)
    task[AT], task[SHIFT], task[FIRST] = start, shift, ordinal
    # An offset grows by at most 9 bytes, and a field with one has at least 2.
    target = np.empty(6 * len(footer) + 64, np.uint8)
    if call("move_groups", task, source, target, MEANING, _frames(), np.zeros((3, 2), np.int64)) < 0:
        raise ValueError(_MALFORMED)
    return target[: task[WRITTEN]].tobytes(), int(task[COUNT])


def value_end(footer: bytes, at: int, kind: int) -> int:
    """Where the value of this Thrift type that starts at `at` ends, read as an item of a list.

    Raises:
        ValueError: the footer is not well formed.
    """
    task = np.zeros(8, np.int64)
    task[AT] = at
    end = call("skip_value", task, np.frombuffer(footer, np.uint8), _frames(), np.array([kind], np.int64))
    if end < 0:
        raise ValueError(_MALFORMED)
    return end


def _frames() -> np.ndarray:
    return np.zeros((DEPTH, 2), np.int64)
