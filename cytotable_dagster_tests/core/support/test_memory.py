"""Memory that is used again is nobody else's."""

import ctypes

import numpy as np
import psutil
import pyarrow as pa
import pytest

from cytotable_dagster.core.support import memory
from cytotable_dagster.core.support.memory import lent, let_go_of_small, memory_used_again

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


def test_as_much_is_kept_as_was_in_use_at_once_and_no_more():
    with memory_used_again():
        held = [lent(SIZE) for _ in range(4)]
        places = {*map(_place, held)}
        del held
        again = [lent(SIZE) for _ in range(4)]
        assert {*map(_place, again)} == places
        del again
        large = lent(16 * SIZE)
        assert memory._out + sum(block.size for block in memory._free) <= memory._most
        del large
    assert not memory._free


def test_nothing_is_kept_of_one_use_for_the_next():
    for _ in range(2):
        with memory_used_again():
            held = [lent(SIZE) for _ in range(4)]
            del held
        assert not memory._free
    with memory_used_again():
        held = [lent(SIZE)]
        del held
        assert len(memory._free) == 1


def test_small_memory_that_nobody_asks_for_any_more_keeps_no_large_one_from_being_given_again(monkeypatch):
    monkeypatch.setenv("CYTOTABLE_MAX_THREADS", "2")
    with memory_used_again():
        large = [lent(20 * SIZE), lent(20 * SIZE)]
        small = [lent(SIZE), lent(SIZE)]
        for one in large:
            one[0] = 7
        del one, small
        del large
        again = [lent(20 * SIZE), lent(20 * SIZE)]
        assert [one[0] for one in again] == [7, 7], "new memory is cleared"


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc alone is asked")
def test_small_memory_goes_back_to_the_system_though_something_lies_behind_it():
    blocks = [bytearray(b"x" * 100_000) for _ in range(2_000)]
    kept = blocks[::100]
    del blocks
    before = psutil.Process().memory_info().rss
    let_go_of_small()
    assert before - psutil.Process().memory_info().rss > 50e6
    assert len(kept) == 20
