"""Arrays of int64 as files of their bytes and nothing else.

NumPy's own files have a header that it parses with `ast`, which fails in Python 3.11 where two threads do
(https://github.com/python/cpython/issues/106905).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.environment import memory_mapping
from cytotable_dagster.core.support.file_values import FILE_VALUES

if TYPE_CHECKING:
    import numpy as np

# So many arrays of so many bytes are kept in memory: opening one takes longer than reading it.
_KEPT, _SMALL = 32, 1 << 20


def save_integers(path: Path, values: "np.ndarray") -> None:
    """Write an array of shape (n,), whole numbers of any width."""
    import numpy as np

    values.astype(np.int64, copy=False).tofile(path)


def load_integers(path: Path) -> "np.ndarray":
    """What `save_integers` wrote, not to be written to."""
    import numpy as np

    if path.stat().st_size <= _SMALL:
        return FILE_VALUES.get(path, _small, _KEPT)
    return np.memmap(path, np.int64, "r") if memory_mapping() else np.fromfile(path, np.int64)


def _small(path: Path) -> "np.ndarray":
    import numpy as np

    found = np.fromfile(path, np.int64)
    found.flags.writeable = False
    return found
