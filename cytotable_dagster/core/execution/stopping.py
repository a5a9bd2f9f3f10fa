"""Work that is called off: tasks look for a file, which reaches threads, processes and other machines alike."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cytotable_dagster.core.errors import StoppedError

_task = threading.local()


def unless_stopped(stop: Path, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function, which `check_stopped` ends once the file `stop` is there, or its folder, the work's, is gone.

    Raises:
        StoppedError: so it is.
    """
    _task.stop = stop
    try:
        check_stopped()
        return function(*arguments)
    finally:
        _task.stop = None


def check_stopped() -> None:
    """End this thread's task where its work was called off; for loops, between two shares of work."""
    stop: Path | None = getattr(_task, "stop", None)
    if stop is not None and (stop.exists() or not stop.parent.exists()):
        raise StoppedError("the work was called off, as other work failed or its run was cancelled")
