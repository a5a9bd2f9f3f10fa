"""NumPy arrays as Arrow arrays and back, without a copy.

pyarrow's own ways of doing it import pandas wherever that is installed, which takes up to a second.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def from_numpy(values: "np.ndarray", valid: "np.ndarray | None" = None) -> "pa.Array":
    """An Arrow array of int64 or float64 values, in their memory; null where `valid` (bool) is False."""
    import numpy as np
    import pyarrow as pa

    bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    type = pa.type_for_alias(values.dtype.name)
    return pa.Array.from_buffers(type, len(values), [bitmap, pa.py_buffer(np.ascontiguousarray(values))])


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
