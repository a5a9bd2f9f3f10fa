"""Calls that are waited for no longer than so many seconds, whatever they wait for themselves.

Timeouts of a socket are for one read: a server that sends a byte now and then keeps a call for as long as it likes.
"""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")

_here = threading.local()


def waited_for() -> None:
    """Say of this thread that somebody waits for it, and no longer than it pleases them: what it calls need not be
    waited for by a further one."""
    _here.waited_for = True


def within(seconds: float, function: Callable[[], T]) -> T:
    """What a call returns or raises.

    Raises:
        TimeoutError: it takes longer, and this thread is none that is `waited_for`. Its thread is left to itself, and
            does not keep the process from ending.
    """
    if getattr(_here, "waited_for", False):
        return function()
    ended: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        waited_for()
        try:
            ended.put((function(), None))
        except BaseException as error:
            ended.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = ended.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]
