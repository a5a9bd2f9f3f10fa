"""Results of a folder that take the place of older ones together.

What is to be published is whole, in a folder of its own, before the first name changes. That folder becomes the
destination, by one rename, where there is none; else `.cytotable.publication` in it, by one rename, from which each
result takes its place. A process that is killed in between has published: the next writer puts in place what is left.
"""

import errno
import json
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import DestinationExistsError
from cytotable_dagster.core.support.exchange import exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

_PENDING = "cytotable.publication"
# In that folder: the inode of each result, which tells it from an older one that it changed places with.
_RECORD = ".results.json"


def publish(made: Path, root: Path, name: str = "", *, overwrite: bool) -> None:
    """Let everything in `made` take its place in `root`; `made` need not be there afterwards.

    Args:
        name: what the writer claimed of `root`, see `Destination.writing`.

    Raises:
        DestinationExistsError: one of the names is taken, without `overwrite`; nothing was published.
        OSError: one cannot take its place; those that did have left it again to what was there.
    """
    if _became(made, root):
        return
    names = sorted(path.name for path in made.iterdir())
    if not overwrite:
        for name in names:
            if os.path.lexists(root / name):
                raise exists_already(root / name)
    if len(names) == 1 and (made / names[0]).is_file() and not (root / names[0]).is_dir():
        _publish_file(made / names[0], root / names[0], overwrite=overwrite)
        return
    inodes = {name: (made / name).stat().st_ino for name in names}
    (made / _RECORD).write_text(json.dumps(inodes))
    old = made.with_name(f"{made.name}.old")
    old.mkdir()
    pending = _pending(root, name)
    made.rename(pending)
    with _undone(pending, root, old, made):
        for name in names:
            _put(pending / name, root / name, old / name)
    shutil.rmtree(pending)


def finish(root: Path, name: str = "") -> None:
    """Put in place what a process that was killed had begun to publish; only the one writer may."""
    pending = _pending(root, name)
    if not pending.is_dir():
        return
    inodes: dict[str, int] = {}
    with suppress(FileNotFoundError, ValueError):
        inodes = json.loads((pending / _RECORD).read_text())
    for result, inode in inodes.items():
        new = pending / result
        if new.exists() and (new.stat().st_ino == inode or not os.path.lexists(root / result)):
            _put(new, root / result, pending / f".{result}.old")
    shutil.rmtree(pending)


def begun(root: Path) -> list[str]:
    """What publications that were not finished had claimed of a folder."""
    found = [path.name for path in root.glob(f".*{_PENDING}")]
    return sorted(name.removeprefix(".").removesuffix(_PENDING).removesuffix(".") for name in found)


def exists_already(path: object) -> DestinationExistsError:
    """The error of a result that is there."""
    return DestinationExistsError(f"{path}: exists; pass overwrite=True to replace it, or another dest_path")


def _pending(root: Path, name: str) -> Path:
    return root / (f".{name}.{_PENDING}" if name else f".{_PENDING}")


def _became(made: Path, root: Path) -> bool:
    """Whether there was no destination, or an empty folder made meanwhile, and `made` is it."""
    if os.path.lexists(root):
        return False
    try:
        made.rename(root)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True


def _publish_file(new: Path, path: Path, *, overwrite: bool) -> None:
    if not overwrite:
        # A link never replaces, whoever made the other file in this very moment.
        try:
            path.hardlink_to(new)
        except FileExistsError as error:
            raise exists_already(path) from error
        except OSError:  # a file system without links
            pass
        else:
            return
    new.replace(path)


def _put(new: Path, path: Path, old: Path) -> None:
    """Let a result take its place, and keep what was there as `old`."""
    if not os.path.lexists(path):
        new.rename(path)
    elif new.is_dir() or (path.is_dir() and not path.is_symlink()):
        if exchange(new, path):
            new.rename(old)
        else:
            path.rename(old)
            new.rename(path)
    else:
        try:
            old.hardlink_to(path)
        except OSError:  # a file system without links
            path.rename(old)
        new.replace(path)


@contextmanager
def _undone(pending: Path, root: Path, old: Path, made: Path) -> "Iterator[None]":
    """Where a result cannot take its place, all others leave theirs."""
    try:
        yield
    except BaseException:
        for name, inode in json.loads((pending / _RECORD).read_text()).items():
            _undo(pending / name, root / name, old / name, inode)
        pending.rename(made)
        raise


def _undo(new: Path, path: Path, old: Path, inode: int) -> None:
    if os.path.lexists(old):
        if not os.path.lexists(path) or not (old.is_dir() or path.is_dir()):
            old.replace(path)
        elif not exchange(old, path):
            path.rename(new)
            old.rename(path)
    elif not os.path.lexists(new):
        path.rename(new)
    elif new.stat().st_ino != inode:
        exchange(new, path)
