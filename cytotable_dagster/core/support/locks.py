"""Locks of the operating system (`flock`), which die with the process that holds them; whoever locks does it here.

The file of a place that is written to goes when its lock is released, and where the file system has no locks there are
none: then who wants one has it. The file of a `Lock` stays.
"""

import fcntl
import os
import platform
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from cytotable_dagster.core.errors import DestinationInUseError

# How long who wants to write waits for another writer, and how often it looks (seconds).
WAIT, _POLL = 60.0, 0.1
# How often a folder is made again; where no file can be made (/proc), it helps nothing.
_AGAIN = 10
# Characters of what a lock file says that are shown.
_SHOWN = 100
# Neither follow a link that somebody put there, nor wait for whoever writes to a pipe.
OPEN = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@contextmanager
def only_one(path: Path, what: str, wait: float | None = None) -> Iterator[None]:
    """Hold the lock of a file, which is made in a folder that is there, and goes when the block ends. An empty folder
    that was made for another as well, who removes it meanwhile, is made again.

    Args:
        what: is written to, in the words of the error.
        wait: seconds to wait for whoever holds it; None is `WAIT`.

    Raises:
        DestinationInUseError: it was held all the time.
    """
    deadline = time.monotonic() + (WAIT if wait is None else wait)
    while (descriptor := _taken(path)) is None:
        if time.monotonic() >= deadline:
            raise DestinationInUseError(in_use(what, _said(path)))
        time.sleep(_POLL)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        # While it is ours: who opened it before finds that it is gone, and makes another.
        path.unlink(missing_ok=True)
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder where there is none, even while another process removes it, as nothing came of it there."""
    for again in range(_AGAIN, -1, -1):
        try:
            path.mkdir(parents=True, exist_ok=True)
            return
        except (FileExistsError, FileNotFoundError):
            if not again or (os.path.lexists(path) and not path.is_dir()):
                raise


def in_use(what: str, who: str) -> str:
    """What the error says of a place that another process writes to."""
    return f"{what}: another conversion writes there ({who}); wait until it has ended, or name another dest_path"


def try_lock(descriptor: int, *, if_unknown: bool = False) -> bool:
    """Lock an open file, if nobody has; whether it is ours then: `if_unknown` where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return if_unknown
    return True


def lock_with_others(descriptor: int) -> None:
    """Lock an open file together with others who do so; waits for whoever has it alone. It ends with the descriptor.

    Raises:
        OSError: the file system has no locks.
    """
    fcntl.flock(descriptor, fcntl.LOCK_SH)


class Lock:
    """The lock of a file, which is made where there is none and stays: one thread of one process holds it at a time.

    Raises:
        OSError: the file cannot be made, or the file system has no locks.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, wait: float | None = None) -> None:
        """Wait for the lock; None is for as long as it takes.

        Raises:
            TimeoutError: somebody else had it for so many seconds.
        """
        descriptor = os.open(self._path, OPEN | os.O_CREAT, 0o666)
        try:
            _wait(descriptor, wait)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go; nothing where it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # A process that was forked meanwhile has the descriptor, too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def __enter__(self) -> "Lock":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _wait(descriptor: int, wait: float | None) -> None:
    """Wait for the lock of an open file."""
    if wait is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    deadline = time.monotonic() + wait
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() >= deadline:
            raise TimeoutError(f"another process holds a lock for more than {wait:g} s")
        time.sleep(_POLL)


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    return False


@cache
def machine() -> str:
    """What tells this machine from others, since it was started; containers on it are of it. Eight letters."""
    try:
        identity = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        identity = platform.node()
    return f"{zlib.crc32(identity.encode()):08x}"


def _taken(path: Path) -> int | None:
    """The lock file, locked; None where another holds it."""
    for again in range(_AGAIN, -1, -1):
        try:
            descriptor = os.open(path, OPEN | os.O_CREAT, 0o666)
            break
        except FileNotFoundError:
            if not again:
                raise
            make_folder(path.parent)
    if try_lock(descriptor, if_unknown=True) and is_at(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


def _said(path: Path) -> str:
    with suppress(OSError):
        return path.read_bytes()[:_SHOWN].decode(errors="replace") or "nobody said which"
    return "it has just ended"
