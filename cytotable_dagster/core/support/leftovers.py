"""Temporary files and folders, each with an owner whose lock dies with its process, so that what a killed one left is
known for what it is and removed by the next that comes by.

.<name>.<random>-<machine>.cytotable.tmp       a file that is locked, or a folder whose `.owner` is
.<name>.cytotable.lock                          a lock file, see `locks`

Where the lock is free the owner is gone. Some file systems keep locks to the machine that took them (Lustre's
`localflock`, some FUSE): what another machine left has to have been untouched for a day as well.
"""

import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cytotable_dagster.core.support.locks import OPEN, is_at, machine, try_lock

_SUFFIX = ".cytotable.tmp"
_OURS = re.compile(rf"\..*\.[0-9a-f]{{8}}-([0-9a-f]{{8}}){re.escape(_SUFFIX)}|\.(?:.*\.)?cytotable\.lock")
_TEMPORARY = re.compile(rf"\.(.*)\.[0-9a-f]{{8}}-[0-9a-f]{{8}}{re.escape(_SUFFIX)}")
_OWNER = ".owner"
# Characters of a name that are shown in a temporary's, which must not become too long.
_NAME = 50
# Seconds without a change after which what another machine left is taken for abandoned.
_ABANDONED = 24 * 3600.0
# How often a folder is removed that something still gets into.
_REMOVALS = 20


@contextmanager
def owned_file(place: Path, name: str) -> Iterator[Path]:
    """A new empty file in a folder that is there; removed after, unless it was renamed.

    The lock is the file's: whoever puts another file under its name wants an `owned_folder` instead.
    """
    path, owner = _made(place, name, folder=False)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(owner)


@contextmanager
def owned_folder(place: Path, name: str) -> Iterator[Path]:
    """A new folder in one that is there, with a hidden file in it that says it is in use; removed after, also while a
    thread that was left to itself writes into it."""
    path, owner = _made(place, name, folder=True)
    try:
        yield path
    finally:
        # Under another name nothing more gets into it.
        gone = _new_path(place, name)
        with suppress(OSError):
            path = path.rename(gone)
        # But for what was on its way.
        for _ in range(_REMOVALS):
            shutil.rmtree(path, ignore_errors=True)
            if not path.exists():
                break
        os.close(owner)


@contextmanager
def temporary_folder(name: str) -> Iterator[Path]:
    """A folder for intermediate files in `TMPDIR`; what killed processes left there goes."""
    sweep_temporary()
    with owned_folder(Path(tempfile.gettempdir()), name) as folder:
        yield folder


def sweep_temporary() -> list[Path]:
    """Remove what killed processes left in `TMPDIR`; what was removed."""
    return sweep(Path(tempfile.gettempdir()))


def sweep(*places: Path) -> list[Path]:
    """Remove what killed processes left in these folders, not in those below; what was removed.

    What cannot be looked at or removed stays, for it may be another user's.
    """
    removed = []
    for place in places:
        with suppress(OSError):
            found = [entry for entry in os.scandir(place) if _OURS.fullmatch(entry.name)]
            removed += [Path(entry.path) for entry in found if _swept(Path(entry.path))]
    return removed


def named_without(path: str) -> str:
    """What a path is for that leads to or into a temporary: the file or folder that this is to become, or the folder
    that it is of and lies in."""
    parts = Path(path).parts
    for number, part in enumerate(parts):
        if found := _TEMPORARY.fullmatch(part):
            place = Path(*parts[:number])
            return str(place if place.name[:_NAME] == found[1] else place / found[1])
    return path


def sweep_below(folder: Path) -> list[Path]:
    """The same in a folder and all below it."""
    removed = []
    for place, folders, _ in os.walk(folder):
        removed += sweep(Path(place))
        folders[:] = [name for name in folders if not _OURS.fullmatch(name)]
    return removed


def _new_path(place: Path, name: str) -> Path:
    return place / f".{name[:_NAME]}.{secrets.token_hex(4)}-{machine()}{_SUFFIX}"


def _made(place: Path, name: str, *, folder: bool) -> tuple[Path, int]:
    """A new temporary, and the descriptor that its lock is on; a sweep that came between takes it, and we another."""
    while True:
        path = _new_path(place, name)
        owner = path
        if folder:
            path.mkdir(0o700)
            owner = path / _OWNER
        try:
            descriptor = os.open(owner, OPEN | os.O_CREAT, 0o666)
        except FileNotFoundError:
            # Only a folder can have been taken meanwhile: where a new file is not found, none can be (/proc).
            if not folder or not place.is_dir():
                raise
            continue
        if try_lock(descriptor, if_unknown=True) and is_at(descriptor, owner):
            return path, descriptor
        os.close(descriptor)


def _swept(path: Path) -> bool:
    """Remove a temporary if its owner is gone."""
    facts = path.lstat()
    is_folder = path.is_dir() and not path.is_symlink()
    if hasattr(os, "geteuid") and facts.st_uid != os.geteuid():
        return False
    owner = path / _OWNER if is_folder else path
    with suppress(OSError):
        descriptor = os.open(owner, OPEN | (os.O_CREAT if is_folder else 0), 0o600)
        try:
            if not try_lock(descriptor) or not is_at(descriptor, owner) or not _may_go(path):
                return False
            shutil.rmtree(path) if is_folder else path.unlink()
            return True
        finally:
            os.close(descriptor)
    return False


def _may_go(path: Path) -> bool:
    """Whether a temporary that nobody locks is of this machine, or was left alone for long."""
    found = _OURS.fullmatch(path.name)
    if found and found[1] in (machine(), None):
        return True
    return time.time() - max(each.lstat().st_mtime for each in (path, *path.rglob("*"))) > _ABANDONED
