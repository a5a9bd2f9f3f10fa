"""Two names that change places in one step, where the system can: neither is missing at any moment."""

import ctypes
import os
import sys
from pathlib import Path

_HERE = -100  # AT_FDCWD: paths are as they are
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS


def exchange(one: Path, other: Path) -> bool:
    """Let two files or folders of one file system change places; False where the system has no such step.

    Raises:
        OSError: it has, and refuses.
    """
    names = os.fsencode(one), os.fsencode(other)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            failed = library.renamex_np(*names, ctypes.c_uint(_EXCHANGE))
        else:
            failed = library.renameat2(_HERE, names[0], _HERE, names[1], ctypes.c_uint(_EXCHANGE))
    except (AttributeError, OSError, TypeError):
        return False
    if failed and ctypes.get_errno() in _PERMANENT:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))
    return not failed


# What two plain renames would be refused for as well; all else says that the file system cannot exchange.
_PERMANENT = (1, 2, 5, 13, 30)  # EPERM, ENOENT, EIO, EACCES, EROFS
