"""Where results go: a folder of this machine, or a prefix of a store. Names are relative, with `/` between folders.

A file appears under its name only when it is whole, in place of one that is there; readers see the old or the new.
"""

import os
import shutil
import stat
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cytotable_dagster.core.errors import DestinationExistsError
from cytotable_dagster.core.support.files import needed_folder, scratch_folder, whole_file
from cytotable_dagster.core.support.leftovers import owned_folder, sweep, sweep_below
from cytotable_dagster.core.support.locks import only_one
from cytotable_dagster.core.support.publication import finish, publish

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Stored:
    """A file that is there: `size` in bytes; `stamp` changes whenever the file is replaced."""

    name: str
    size: int
    stamp: str


class Results(ABC):
    """Results on their way to a destination, where they appear together."""

    @abstractmethod
    def create(self, name: str) -> BinaryIO:
        """What is written to it becomes a file; it may be closed before the others."""

    @abstractmethod
    def take(self, made: Path, name: str) -> None:
        """A file or folder made in `scratch` becomes one; it need not stay where it was."""


@dataclass(frozen=True)
class Claim:
    """That this process is the one who writes to a destination, or to the one file or folder `name` of it.

    Before something appears there, `check` makes sure that it still is; `conditional` says that the store makes objects
    on condition that there is none.
    """

    name: str
    check: Callable[[], None]
    conditional: bool = False


class Destination(ABC):
    """A folder or prefix that files are put into."""

    @abstractmethod
    def address(self, name: str = "") -> str:
        """The whole path or address of a name."""

    @abstractmethod
    def path(self, name: str) -> Path:
        """The same as a path: `pathlib`'s, or of a store `cloudpathlib`'s, which has the same methods and whose use
        as `os.PathLike` fetches the file."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether a file or folder of that name is there.

        Raises:
            DestinationExistsError: none can be, for a file is where a folder would have to be.
        """

    @abstractmethod
    def find(self, name: str) -> Stored | None:
        """A file that is there."""

    @abstractmethod
    def list(self, below: str = "") -> list[Stored]:
        """Every whole file below a folder, by name; hidden ones (`.x`) left out. Empty where there is none."""

    @abstractmethod
    def open(self, name: str) -> "pa.NativeFile":
        """A file to read from anywhere in it; raises FileNotFoundError."""

    @abstractmethod
    def create(self, name: str) -> AbstractContextManager[BinaryIO]:
        """What is written in the block becomes the file when the block ends well, else nothing."""

    @abstractmethod
    def put(self, path: Path, name: str) -> None:
        """Put a whole local file there; it stays where it is, and is never written to again (only replaced)."""

    @abstractmethod
    def writing(
        self, name: str = "", wait: float | None = None, *, file_by_file: bool = False
    ) -> AbstractContextManager[Claim]:
        """No other process of ours writes there while the block lasts; what a killed one had begun to publish is
        finished or undone first.

        Args:
            name: the one file or folder that is written to; none is all of the destination.
            wait: seconds to wait for another writer; None is a minute.
            file_by_file: files are put there one by one, so that a folder that is not there has to be first.

        Raises:
            DestinationInUseError: another one writes there all the time; or, of the check, has taken over.
        """

    @abstractmethod
    def together(self, scratch: Path, claim: Claim, *, overwrite: bool) -> AbstractContextManager[Results]:
        """Results that appear when the block ends well, all of them or none, in place of those that are there.

        Args:
            scratch: a folder of `scratch()`.
            claim: what `writing` gave.

        Raises:
            DestinationExistsError: one of them is there, without `overwrite`.
        """

    @abstractmethod
    def scratch(self) -> AbstractContextManager[Path]:
        """A folder of this machine for intermediate files, on the destination's file system if it has one; removed
        after."""

    def sweep(self) -> None:  # noqa: B027
        """Remove what killed processes left anywhere in it."""

    @abstractmethod
    def move(self, name: str, other: str) -> None:
        """Give a file another name, and remove the folders that are empty then."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, and the folders that are empty then."""


@dataclass(frozen=True)
class LocalDestination(Destination):
    """A folder of this machine."""

    root: Path

    def address(self, name: str = "") -> str:
        return str(self.root / name)

    def path(self, name: str) -> Path:
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
