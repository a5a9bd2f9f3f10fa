"""Where compiled code is kept for later processes, and whose turn it is to make it.

Machine code is loaded from these folders, so that what others could have put there is passed over. A file starts with
the digest of its code. A wheel for a platform carries such files beside this module.
"""

import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cytotable_dagster.core.environment import kernel_cache, numba_cache, user_caches
from cytotable_dagster.core.support.locks import Lock
from cytotable_dagster.core.support.written_paths import expanded

_DIGEST_SIZE = 32
# How long another process may take to compile what this one waits for (seconds).
_PATIENCE = 600.0
_log = logging.getLogger("cytotable_dagster")


@dataclass(frozen=True)
class Folder:
    """A folder of compiled code. A `shared` one lies where others may write, and has to be the user's alone."""

    path: Path
    shared: bool = False

    def code(self, name: str) -> bytes | None:
        """The code kept by this name, if it is there, whole, and no other's work."""
        with suppress(OSError), ExitStack() as files:
            # By descriptors, so that what was looked at is what is read.
            folder = _opened(files, self.path, os.O_DIRECTORY)
            file = _opened(files, name, os.O_NOFOLLOW, folder)
            if self._trusted(folder) and self._trusted(file):
                return _checked(files.enter_context(open(file, "rb", closefd=False)).read())
        return None

    def keep(self, name: str, code: bytes) -> bool:
        """Store code for other processes, which must wait for their turn meanwhile; whether that could be."""
        # One name, so that what a killed process left is written over by the next.
        temporary = self.path / f".{name}.tmp"
        try:
            temporary.write_bytes(hashlib.sha256(code).digest() + code)
            temporary.chmod(0o644)
            temporary.replace(self.path / name)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            return False
        return True

    def can_be_written(self) -> bool:
        """Whether code can be kept here; makes the folder where there is none."""
        try:
            self.path.mkdir(mode=0o700 if self.shared else 0o755, parents=True, exist_ok=True)
            with ExitStack() as files:
                trusted = self._trusted(_opened(files, self.path, os.O_DIRECTORY))
            return trusted and os.access(self.path, os.W_OK | os.X_OK)
        except OSError:
            return False

    def _trusted(self, descriptor: int) -> bool:
        facts = os.fstat(descriptor)
        if self.shared:
            # The folder is closed to all others; a file in it is of nobody else, then.
            private = not stat.S_ISDIR(facts.st_mode) or not facts.st_mode & 0o077
            return private and facts.st_uid == os.geteuid()
        return not facts.st_mode & stat.S_IWOTH


# What the wheel brought, to be read only.
_CARRIED = Folder(Path(__file__).with_name("compiled"))


def folders() -> list[Folder]:
    """Where compiled code may be kept, best first: as the environment says, the user's cache, the temporary folder."""
    found = []
    if named := kernel_cache():
        found.append(Folder(Path(expanded(named)).absolute()))
    if numba := numba_cache():
        found.append(Folder(numba / "cytotable_dagster"))
    with suppress(RuntimeError):  # no HOME, and a user that the system does not know
        found.append(Folder(user_caches() / "cytotable_dagster"))
    with suppress(OSError):  # no temporary folder can be written to
        found.append(Folder(Path(tempfile.gettempdir()) / f"cytotable_dagster-{os.geteuid()}", shared=True))
    return found


def kept(name: str) -> bytes | None:
    """The code kept by this name in any folder."""
    return next((code for folder in (_CARRIED, *folders()) if (code := folder.code(name)) is not None), None)


def where_kept(name: str) -> Path | None:
    """The file of the code kept by this name."""
    return next((folder.path / name for folder in (_CARRIED, *folders()) if folder.code(name) is not None), None)


@contextmanager
def turn() -> Iterator[Folder | None]:
    """The folder to keep code in, for one process at a time; None where there is none, or the others take too long."""
    with ExitStack() as held:
        yield next((folder for folder in folders() if _locked(folder, held)), None)


def _locked(folder: Folder, held: ExitStack) -> bool:
    if not folder.can_be_written():
        return False
    lock = Lock(folder.path / ".lock")
    try:
        try:
            lock.acquire(0)
        except TimeoutError:
            _log.warning("waiting for another process that compiles the readers")
            lock.acquire(_PATIENCE)
    except OSError:  # a TimeoutError, or a file system without locks
        return False
    held.callback(lock.release)
    return True


def _opened(files: ExitStack, path: str | Path, flags: int, folder: int | None = None) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=folder)
    files.callback(os.close, descriptor)
    return descriptor


def _checked(data: bytes) -> bytes | None:
    code = data[_DIGEST_SIZE:]
    return code if hashlib.sha256(code).digest() == data[:_DIGEST_SIZE] else None
