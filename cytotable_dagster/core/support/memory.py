"""Large memory that is used again: a page that is new to a process is cleared first, which on a virtual machine takes
longer than to fill it (a quarter of a conversion, where every batch had memory of its own)."""

import ctypes
import functools
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# Less is allocated as ever.
_LEAST = 1 << 20
# How many times larger than asked for memory may be.
_WASTE = 4

_free: "list[np.ndarray]" = []
_users = 0
# Bytes that are lent, and the most that ever were while there are users.
_out = _most = 0
# Memory may be given back by the collector of garbage, in the midst of anything this thread does.
_lock = threading.RLock()


@contextmanager
def memory_used_again() -> Iterator[None]:
    """While the block lasts, in whatever thread, `lent` gives again what nobody refers to any more."""
    global _users, _most
    with _lock:
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _free.clear()
                _most = 0


def lent(size: int) -> "np.ndarray":
    """Bytes, uint8[size] of any content, which go back when neither they nor a view or a buffer of them is there."""
    import numpy as np

    if size < _LEAST or not _users:
        return np.empty(size, np.uint8)
    block = _taken(size)
    # Views are of this array, and not of the block: NumPy looks no further than an array made of a buffer.
    bytes_of_it = np.frombuffer(block.data, np.uint8, size)
    weakref.finalize(bytes_of_it, _give_back, block).atexit = False
    return bytes_of_it


def _taken(size: int) -> "np.ndarray":
    """A block of at least `size` bytes; pages of it that are not written to cost nothing."""
    import numpy as np

    global _out, _most
    with _lock:
        fitting = [i for i, block in enumerate(_free) if size <= block.size <= _WASTE * size]
        if fitting:
            block = _free.pop(min(fitting, key=lambda i: _free[i].size))
        else:
            block = np.empty(1 << (size + size // 4).bit_length(), np.uint8)
        _out += block.size
        _most = max(_most, _out)
        _let_go()
        return block


def _give_back(block: "np.ndarray") -> None:
    global _out
    with _lock:
        _out -= block.size
        if _users:
            _free.append(block)
            _let_go()


def _let_go() -> None:
    """Keep no more than was in use at once, so that memory that is kept adds nothing to what is taken at the most."""
    while _free and _out + sum(block.size for block in _free) > _most:
        # Of a size that nobody asked for lately.
        del _free[0]


def let_go_of_small() -> None:
    """Give to the system what was freed of small memory, whose pages stay with the process where something that is in
    use lies behind them; where this is not glibc, nothing."""
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> "Callable[[int], int] | None":
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
