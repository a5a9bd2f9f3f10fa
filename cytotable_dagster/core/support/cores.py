"""How many threads work at the same time."""

import os

from cytotable_dagster.core.environment import max_threads


def cores() -> int:
    """The processors that this process may use, or as many as `CYTOTABLE_MAX_THREADS` says.

    Raises:
        OptionError: the variable is no number from 1; `Request.checked` and `crops` ask before anything is done.
    """
    affine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max_threads() or affine or 1
