"""A folder of this machine as a place for results; see `destination`."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cytotable_dagster.core.errors import DestinationExistsError
from cytotable_dagster.core.storage.destination import Claim, Destination, Results, Stored
from cytotable_dagster.core.support.files import needed_folder, scratch_folder, whole_file
from cytotable_dagster.core.support.leftovers import owned_folder, sweep, sweep_below
from cytotable_dagster.core.support.locks import only_one
from cytotable_dagster.core.support.publication import finish, publish

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class LocalDestination(Destination):
    """A folder of this machine."""

    root: Path

    def address(self, name: str = "") -> str:
        return str(self.root / name)

    def path(self, name: str) -> Path:
        return self.root / name

    def local(self, name: str) -> Path:
        return self.root / name

    def exists(self, name: str) -> bool:
        path = self.root / name
        _check_folders(path.parent)
        return path.exists()

    def find(self, name: str) -> Stored | None:
        with suppress(FileNotFoundError, NotADirectoryError):
            facts = (self.root / name).stat()
            return Stored(name, facts.st_size, f"{facts.st_ino}-{facts.st_mtime_ns}")
        return None

    def list(self, below: str = "") -> list[Stored]:
        found = []
        for folder, folders, names in os.walk(self.root / below):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for path in (Path(folder, name) for name in names if not name.startswith(".")):
                if stored := self.find(path.relative_to(self.root).as_posix()):  # not removed meanwhile
                    found.append(stored)
        return sorted(found, key=lambda stored: stored.name)

    def open(self, name: str) -> "pa.NativeFile":
        import pyarrow as pa

        return pa.OSFile(str(self.root / name))

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        path = self.root / name
        with whole_file(path, self._aside(path)) as temporary, temporary.open("wb") as out:
            yield out

    def put(self, path: Path, name: str) -> None:
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # The lock of a link would be that of the file it links to.
        with owned_folder(self._aside(target), target.name) as folder:
            temporary = folder / target.name
            try:
                temporary.hardlink_to(path)
            except OSError:  # another file system, or one without links
                shutil.copyfile(path, temporary)
            temporary.replace(target)

    @contextmanager
    def writing(self, name: str = "", wait: float | None = None, *, file_by_file: bool = False) -> Iterator[Claim]:
        lock = f".{name}.cytotable.lock" if name else ".cytotable.lock"
        # Where there is no folder it will be made by a rename, and the lock lies beside.
        beside = not name and not file_by_file and not self.root.is_dir()
        with ExitStack() as held:
            place = self.root.parent if beside else self.root
            _check_folders(self.root)
            held.enter_context(needed_folder(place))
            held.enter_context(only_one(place / (f".{self.root.name}{lock}" if beside else lock), str(self.root), wait))

            def check() -> None:
                nonlocal beside
                if beside and self.root.is_dir():
                    held.enter_context(only_one(self.root / lock, str(self.root), wait))
                    beside = False

            check()
            sweep(self.root, self.root.parent)
            if not beside:
                finish(self.root, name)
            yield Claim(name, check)

    @contextmanager
    def together(self, scratch: Path, claim: Claim, *, overwrite: bool) -> Iterator[Results]:
        results = _LocalResults(Path(tempfile.mkdtemp(dir=scratch)) / "results")
        with closing(results):
            yield results
        claim.check()
        publish(results.folder, self.root, claim.name, overwrite=overwrite)

    def scratch(self) -> AbstractContextManager[Path]:
        return scratch_folder(self.root)

    def sweep(self) -> None:
        sweep_below(self.root)

    def move(self, name: str, other: str) -> None:
        target = self.root / other
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).replace(target)
        self._remove_empty(name)

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)
        self._remove_empty(name)

    def _remove_empty(self, name: str) -> None:
        """Remove the folders that a file was in and that are empty."""
        with suppress(OSError):
            for folder in Path(name).parents:
                (self.root / folder).rmdir() if folder.name else None

    def _aside(self, path: Path) -> Path:
        """Where a file is made: beside no other, for some readers of a folder want nothing else in it; in its own
        where that is on another file system."""
        try:
            apart = path.parent.stat().st_dev != self.root.stat().st_dev
        except OSError:  # one of them is yet to be made
            apart = not self.root.is_dir()
        return path.parent if apart else self.root


def _check_folders(path: Path) -> None:
    for folder in (path, *path.parents):
        with suppress(FileNotFoundError, NotADirectoryError):
            if not stat.S_ISDIR(folder.stat().st_mode):
                raise DestinationExistsError(f"{folder}: a file, where a folder is to be; name another dest_path")
            return


class _LocalResults(Results):
    """Results in a folder of their own until all are whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened = ExitStack()
        folder.mkdir()

    def create(self, name: str) -> BinaryIO:
        return self._opened.enter_context((self.folder / name).open("wb"))

    def take(self, made: Path, name: str) -> None:
        made.rename(self.folder / name)

    def close(self) -> None:
        self._opened.close()
