"""How loops over bytes are compiled: numba, without the interpreter's lock, the machine code kept between runs.

Import this module only where it is used: it loads numba.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from platformdirs import user_cache_path


def _keep_in(folder: Path) -> bool:
    """Whether compiled code can be kept in this folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _cache_folder() -> Path:
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    return Path(chosen) if chosen else user_cache_path("cytotable_dagster") / "compiled"


_KEPT = _keep_in(_cache_folder())
if _KEPT:
    numba.config.CACHE_DIR = str(_cache_folder())


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call; where its code cannot be kept, in every process anew."""
    return numba.njit(nogil=True, cache=_KEPT)(function)
