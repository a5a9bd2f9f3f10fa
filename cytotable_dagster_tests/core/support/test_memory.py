"""Memory that is used again is nobody else's."""

import numpy as np
import pyarrow as pa

from cytotable_dagster.core.support.memory import lent, memory_used_again

SIZE = 3 << 20


def _place(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_is_given_again_when_no_view_or_buffer_of_it_is_there():
    with memory_used_again():
        first = lent(SIZE)
        place = _place(first)
        column = first.view(np.int64)[10:20]
        array = pa.Array.from_buffers(pa.int64(), 4, [None, pa.py_buffer(first.view(np.int64)).slice(80, 32)])
        array = array.slice(1)
        del first
        second = lent(SIZE)
        assert _place(second) != place
        del column
        third = lent(SIZE)
        assert _place(third) not in (place, _place(second))
        del array
        assert _place(lent(SIZE - 1)) == place


def test_what_is_written_through_it_stays_while_others_come_and_go():
    with memory_used_again():
        kept = pa.py_buffer(lent(SIZE).view(np.int64))
        np.frombuffer(kept, np.int64)[:] = 7
        for number in range(10):
            lent(SIZE)[:] = number
        assert (np.frombuffer(kept, np.int64) == 7).all()
    assert (np.frombuffer(kept, np.int64) == 7).all()
