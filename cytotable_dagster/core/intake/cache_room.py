"""Room in the cache: plates that were not used for longest make way for a new one, never one that is in use.

Beside each cached plate, a file or a folder, lies `.<name>.use`: locked, shared, while the plate is read; its time is
that of the last use, and its content the bytes set aside for a download under way.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cytotable_dagster.core.errors import DownloadError, OptionError
from cytotable_dagster.core.support.files import size_of
from cytotable_dagster.core.support.leftovers import sweep
from cytotable_dagster.core.support.locks import Lock, lock_with_others, try_lock

# How long a download waits for plates in use to be done with, and how often it looks (seconds).
_WAIT, _POLL = 3600.0, 2.0


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """A cached plate stays while the block lasts."""
    marker = _marker(path)
    marker.parent.mkdir(parents=True, exist_ok=True)
    with marker.open("a") as file:
        lock_with_others(file.fileno())
        os.utime(marker)
        yield


def make_room(
    cache: Path,
    path: Path,
    need: int | Callable[[], int],
    limit: int,
    wait: float = _WAIT,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Set bytes aside for a plate that is about to be downloaded to `path`; False where none are needed.

    A version of it that is there goes when the new one has come, and is not counted until then.

    Args:
        need: bytes, or what tells them, anew after each pause: another process may have downloaded the plate.
        pause: waits for so many seconds, and lets go meanwhile of what others wait for.

    Raises:
        OptionError: the plate alone is larger than the limit.
        DownloadError: plates that are in use take up the room, after waiting for them; it may pass.
    """
    deadline = time.monotonic() + wait
    while True:
        wanted = need() if callable(need) else need
        if wanted > limit:
            raise OptionError(f"{path}: {wanted:,} bytes, and the cache may hold {limit:,}; raise its cache_limit")
        if not wanted:
            return False
        with Lock(cache / ".room.lock"):
            if _removed_until(cache, limit - wanted, path):
                _marker(path).write_text(str(wanted))
                return True
        if time.monotonic() >= deadline:
            raise DownloadError(
                f"{path}: no room for {wanted:,} bytes in {cache}, of {limit:,}, as all else is in use; "
                "convert fewer plates at once, or raise its cache_limit"
            )
        pause(_POLL)


def room_was_made(path: Path) -> None:
    """The download is done: from now on its file counts by its size."""
    with suppress(FileNotFoundError):
        _marker(path).write_text("")


@dataclass(frozen=True)
class _Unit:
    path: Path
    size: int
    used: float


def _removed_until(cache: Path, rest: int, wanted: Path) -> bool:
    """Remove what was not used for longest until the cache holds no more than `rest` beside the plate that is wanted;
    whether it does."""
    sweep(*(Path(folder) for folder, _, _ in os.walk(cache)))
    units = [_unit(marker) for marker in cache.rglob(".*.use")]
    others = [unit for unit in units if unit.path != wanted]
    total = sum(unit.size for unit in others)
    for unit in sorted(others, key=lambda unit: unit.used):
        if total <= rest:
            break
        if unit.size and _removed(unit.path):
            total -= unit.size
    return total <= rest


def _unit(marker: Path) -> _Unit:
    path = marker.with_name(marker.name.removeprefix(".").removesuffix(".use"))
    facts = marker.stat()
    aside = marker.read_text().strip()
    present = size_of(path) if path.exists() else 0
    return _Unit(path, max(present, int(aside) if aside.isdigit() else 0), facts.st_mtime)


def _removed(path: Path) -> bool:
    """Remove a plate unless it is in use."""
    marker = _marker(path)
    with marker.open("a") as file:
        if not try_lock(file.fileno()):
            return False
        if path.is_dir():
            shutil.rmtree(path)
        for file_of_it in (path, path.with_name(f".{path.name}.json")):
            file_of_it.unlink(missing_ok=True)
        # The marker stays: another process may have it open, and wait for its lock.
        file.truncate(0)
        return True


def _marker(path: Path) -> Path:
    return path.with_name(f".{path.name}.use")
