"""Where results go: a folder of this machine (`local_destination`), or a prefix of a store (`store_destination`). Names
are relative, with `/` between folders.

A file appears under its name only when it is whole, in place of one that is there; readers see the old or the new.
"""

import hashlib
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import pyarrow as pa


# Of a file that is carried from one place to another.
_COPY_BYTES = 1 << 20


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

    def local(self, name: str) -> Path | None:
        """The path of a file that lies on this machine; None of one that lies in a store."""
        return None

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

    def keep(self, content: bytes, name: str) -> None:
        """The same of bytes, unless the file is there with them, so that nothing is sent that is there."""
        there = self.find(name)
        if there is not None and there.size == len(content):
            # The stamp of an object that was sent whole is its MD5 in most stores.
            if there.stamp == hashlib.md5(content, usedforsecurity=False).hexdigest():
                return
            with closing(self.open(name)) as file:
                if file.read() == content:
                    return
        with self.create(name) as out:
            out.write(content)

    def put_from(self, place: "Destination", file: str, name: str) -> None:
        """The same of a whole file of another place, without carrying its bytes where they need not be."""
        if (local := place.local(file)) is not None:
            self.put(local, name)
        else:
            with place.open(file) as found, self.create(name) as out:
                shutil.copyfileobj(found, out, _COPY_BYTES)

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
