"""What a source on this machine is known by, so that a write to it while it is read does not go unnoticed."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cytotable_dagster.core.errors import (
    CytoTableError,
    SourceAccessError,
    SourceChangedError,
    SourceFormatError,
    SourceNotFoundError,
)
from cytotable_dagster.core.model.types import Source, State
from cytotable_dagster.core.sources.naming import files_below
from cytotable_dagster.core.sources.sqlite.header import HEADER_SIZE, MAGIC, log_beside

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


@dataclass(frozen=True)
class Look:
    """A source as it is now: bytes, a text that changes when a file is written to, comes or goes, and what each file
    is known by."""

    size: int
    stamp: str
    state: State


def look_at(path: Path) -> Look:
    """Look at a file (and, where it is SQLite, the log or journal beside it), or at the files of a plate's folder.

    Raises:
        SourceFormatError: one of them is no file: a pipe, a device; nothing is read from it.
        SourceNotFoundError: one went, or is a link to nothing.
        SourceAccessError: it may not be read.
    """
    if path.is_dir():
        files = list(files_below(path))
        facts = [_facts(file) for _, file in files]
        digest = hashlib.sha256()
        for (name, _), status in zip(files, facts, strict=True):
            digest.update(f"{name}\n{status.st_size}-{status.st_mtime_ns}\n".encode())
        stamp = digest.hexdigest()[:32]
        state = tuple((name, _known_by(status)) for (name, _), status in zip(files, facts, strict=True))
        return Look(sum(status.st_size for status in facts), stamp, state)
    status = _facts(path)
    start = _start(path, HEADER_SIZE)
    stamp = f"{status.st_size}-{status.st_mtime_ns}"
    if start[: len(MAGIC)] != MAGIC:
        return Look(status.st_size, stamp, ((path.name, _known_by(status)),))
    # The file change counter: section "The Database Header" of https://sqlite.org/fileformat2.html.
    known = [(path.name, f"{_known_by(status)}-{start[24:28].hex()}")]
    with _told(path):
        log = log_beside(path)
    if log is not None:
        facts_of_log = _facts(log)
        stamp += f"+{facts_of_log.st_size}-{facts_of_log.st_mtime_ns}"
        # A log that is begun anew has another salt in its header.
        known.append((log.name, f"{_known_by(facts_of_log)}-{_start(log, 32).hex()}"))
    return Look(status.st_size, stamp, tuple(known))


def check_unchanged(source: Source) -> None:
    """Make sure that a source is as it was when it was fetched; the last thing before anything of it is published.

    Raises:
        SourceChangedError: a file of it was written to, came or went.
    """
    what = _change(source)
    if what:
        raise SourceChangedError(
            f"{source.uri}: {what} while it was read, so nothing of it was published; try again when it is at rest"
        )


@contextmanager
def unless_changed(source: Source) -> Iterator[None]:
    """An error in the block is told as the change of the source that it may come from, where there was one; ours name
    the source by its address."""
    try:
        yield
    except Exception as error:
        try:
            check_unchanged(source)
        except SourceChangedError as changed:
            raise changed from error
        if isinstance(error, CytoTableError):
            error.args = (by_address(source, str(error)), *error.args[1:])
        raise


def by_address(source: Source, text: str) -> str:
    """A text with the address of a source in place of where its files, or the copy that is read, lie here."""
    for path in (source.settled, source.path):
        if path is not None:
            text = text.replace(str(path), source.uri.rstrip("/"))
    return text


def _change(source: Source) -> str:
    """What happened to which file; nothing where all are as they were."""
    try:
        now = dict(look_at(source.path).state)
    except (SourceFormatError, SourceNotFoundError, SourceAccessError) as error:
        return f"it changed ({by_address(source, str(error))})"
    before = dict(source.state)
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            return f"{name} " + ("came" if name not in before else "went" if name not in now else "was written to")
    return ""


def _known_by(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"


def _facts(path: Path) -> os.stat_result:
    with _told(path):
        status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for fits, name in _KINDS if fits(status.st_mode)), "no file")
        raise SourceFormatError(f"{path}: {kind}, where a file is expected")
    return status


def _start(path: Path, size: int) -> bytes:
    with _told(path), path.open("rb") as file:
        return file.read(size)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"{path}: not there, or a link to nothing") from error
    except PermissionError as error:
        raise SourceAccessError(f"{path}: it may not be read; ask for permission") from error
