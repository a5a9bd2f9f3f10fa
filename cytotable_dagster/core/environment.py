"""What the environment says of the machine that a process runs on; nothing else of `core` asks it.

Workers of a cluster have machines and environments of their own, and read these there: that is why they are part of no
request and no plan. What a conversion is to be like is said at the doors, and handed down.
"""

import os
import sys
from pathlib import Path

from cytotable_dagster.core.errors import OptionError

KERNEL_CACHE = "CYTOTABLE_KERNEL_CACHE"
# CytoTable's own variable.
MAX_THREADS = "CYTOTABLE_MAX_THREADS"


def variable(name: str) -> str | None:
    """The value of a variable, such as one that a user writes into a path; None where it is not set."""
    return os.environ.get(name)


def memory_mapping() -> bool:
    """Whether our own files are read through a memory map; `CYTOTABLE_ARROW_USE_MEMORY_MAPPING=0` says no."""
    return os.environ.get("CYTOTABLE_ARROW_USE_MEMORY_MAPPING", "1") != "0"


def max_threads() -> int | None:
    """As many threads as a user allows; None where nothing is said.

    Raises:
        OptionError: it is no number from 1.
    """
    text = (os.environ.get(MAX_THREADS) or "").strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise OptionError(f"{MAX_THREADS}={text!r}: give a number from 1")
    return int(text)


def kernel_cache() -> str | None:
    """The folder that compiled code is to be kept in, as it is written."""
    return os.environ.get(KERNEL_CACHE) or None


def numba_cache() -> Path | None:
    """Where numba keeps its own code."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    return Path(named).absolute() if named else None


def numba_checks_bounds() -> bool:
    """Whether numba is asked to look at every index (`NUMBA_BOUNDSCHECK`)."""
    return os.environ.get("NUMBA_BOUNDSCHECK", "0") not in ("", "0")


def user_caches() -> Path:
    """This user's folder of caches.

    Raises:
        RuntimeError: there is no HOME, and the system does not know the user.
    """
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
