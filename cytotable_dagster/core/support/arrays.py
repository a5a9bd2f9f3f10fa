"""NumPy arrays as Arrow arrays and back, without a copy, and a few texts.

pyarrow's own ways of doing it import pandas wherever that is installed, which takes up to a second.
"""

import array
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def no_rows(schema: "pa.Schema") -> "pa.Table":
    """A table without rows."""
    import pyarrow as pa

    return pa.Table.from_batches([], schema)


def from_numpy(values: "np.ndarray", valid: "np.ndarray | None" = None) -> "pa.Array":
    """An Arrow array of int64 or float64 values, in their memory; null where `valid` (bool) is False."""
    import numpy as np
    import pyarrow as pa

    bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    type = pa.type_for_alias(values.dtype.name)
    return pa.Array.from_buffers(type, len(values), [bitmap, pa.py_buffer(np.ascontiguousarray(values))])


def from_texts(values: "Sequence[str | None]") -> "pa.Array":
    """An Arrow array of text."""
    import pyarrow as pa

    data = [b"" if value is None else value.encode() for value in values]
    offsets = array.array("i", itertools.accumulate(map(len, data), initial=0))
    bitmap = None
    if None in values:
        there = sum((value is not None) << place for place, value in enumerate(values))
        bitmap = pa.py_buffer(there.to_bytes(len(values) // 8 + 1, "little"))
    return pa.Array.from_buffers(pa.string(), len(data), [bitmap, pa.py_buffer(offsets), pa.py_buffer(b"".join(data))])


def repeated(value: int | float | str | None, type: "pa.DataType", count: int) -> "pa.Array":
    """An Arrow array of one value so many times."""
    import numpy as np
    import pyarrow as pa

    if value is None:
        return pa.nulls(count, type)
    one = from_texts([value]) if isinstance(value, str) else from_numpy(np.array([value]))
    return pa.repeat(one.cast(type)[0], count)


def to_numpy(array: "pa.Array") -> "np.ndarray":
    """The values of an Arrow array of numbers, in its memory; anything at all where one is null."""
    import numpy as np
    import pyarrow as pa

    width = array.type.bit_width // 8
    dtype = np.dtype(f"{str(array.type)[0] if pa.types.is_integer(array.type) else 'f'}{width}")
    if not len(array):
        return np.empty(0, dtype)
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * width)


def valid_mask(array: "pa.Array") -> "np.ndarray":
    """Which values are not null, as bools."""
    import pyarrow as pa

    return to_numpy(array.is_valid().cast(pa.uint8())).view(bool)
