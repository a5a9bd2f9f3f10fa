"""What this machine refuses (room, memory, rights), as errors of ours: translated once, where a caller is met."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from cytotable_dagster.core.errors import (
    CytoTableError,
    DiskFullError,
    FileAccessError,
    FileMissingError,
    FileSystemError,
    OutOfMemoryError,
)
from cytotable_dagster.core.support.leftovers import named_without

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
# A disk or a shared file system that may be well again in a moment.
_PASSING = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EBUSY, errno.ENETDOWN, errno.EHOSTDOWN)
_NO_THREAD = "can't start new thread"
_MORE_ROOM = "make room, or name another place (destination, cache and TMPDIR each need some)"
_MORE_MEMORY = "take smaller chunks (chunk_size), or fewer at a time"


@contextmanager
def full_disk_named(path: object) -> Iterator[None]:
    """Let an error for want of room, which where something is written names no file, name this one; nothing where it is
    no path."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL and error.filename is None and isinstance(path, str | os.PathLike):
            error.filename = os.fspath(path)
        raise


@contextmanager
def errors_of_machine() -> Iterator[None]:
    """Errors of the operating system, and of too little memory, as ours; also a decorator.

    Raises:
        DiskFullError, OutOfMemoryError, FileSystemError: which may pass.
        FileAccessError, FileMissingError: which will not by themselves.
    """
    try:
        yield
    except (CytoTableError, BrokenPipeError):
        raise
    except (OSError, MemoryError, RuntimeError) as error:
        ours = as_ours(error)
        if ours is None:
            raise
        raise ours from error


def as_ours(error: Exception) -> CytoTableError | None:
    """The same as an error of ours; None where it is no error of the machine."""
    if isinstance(error, CytoTableError):
        return error
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_THREAD in str(error)):
        return OutOfMemoryError(f"too little memory ({str(error) or 'none is left'}); {_MORE_MEMORY}")
    if not isinstance(error, OSError):
        return None
    # Of two, what is moved is a temporary of ours, and what is in the way is where it was to go.
    place = error.filename if error.errno == errno.ENOENT else error.filename2 or error.filename
    if error.errno in _FULL and isinstance(place, str):
        place = named_without(place)
    where = f"{place}: " if place else ""
    what = error.strerror or str(error) or type(error).__name__
    if error.errno in _FULL:
        return DiskFullError(f"{where}the disk is full ({what}); {_MORE_ROOM}")
    if error.errno in _REFUSED or isinstance(error, PermissionError):
        return FileAccessError(f"{where}may not be read or written ({what}); give the rights, or name another place")
    if error.errno == errno.ENOENT:
        return FileMissingError(f"{where}is not there and cannot be made ({what}); name another place")
    if error.errno in _PASSING:
        return FileSystemError(f"{where}cannot be read or written ({what}); try again")
    return FileAccessError(f"{where}cannot be read or written ({what}); look at what is there, or name another place")
