"""Where the files of one plate of a lake lie: the plan and the chunk files in a folder of this machine, the results
there too, or in a store.

<folder>/.plan/                        the plan that all of them were made by
<folder>/chunks/Cells/00000.parquet    ...
<folder>/Cells.parquet ... single_cells.parquet, or <store>/<plate>/Cells.parquet ...
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cytotable_dagster.core.steps.chunk_files import chunk_path
from cytotable_dagster.core.storage.destination import Destination, LocalDestination, Stored
from cytotable_dagster.core.support.files import whole_file
from cytotable_dagster.core.support.leftovers import sweep

if TYPE_CHECKING:
    import pyarrow as pa

# Seconds that a step waits for another of its plate.
_WAIT = 3600.0


@dataclass(frozen=True)
class PlateFolder:
    """The folder of a plate, called as the plate is (see `plate_names`); `store` is the lake where results go to a
    store."""

    path: Path
    store: Destination | None = None

    @property
    def plan(self) -> Path:
        return self.path / ".plan"

    @property
    def copies(self) -> Path:
        """Beside it, and not here, lie what tables are copied to while they are read."""
        return self.path / "copies"

    def chunks(self, compartment: str) -> Path:
        return self.path / "chunks" / compartment

    def chunk(self, compartment: str, chunk: int) -> Path:
        return chunk_path(self.chunks(compartment), chunk)

    def result(self, name: str) -> Path:
        """A result (`Cells`, `single_cells`) as a path; see `Destination.path`."""
        return self._lake.path(self._name(name))

    def address(self, name: str) -> str:
        return self._lake.address(self._name(name))

    def stored(self, name: str) -> Stored | None:
        """A result that is there."""
        return self._lake.find(self._name(name))

    def version(self, name: str) -> str:
        """What tells a result from the one that was there before it.

        Raises:
            FileNotFoundError: it is not there.
        """
        if self.store is None:
            return f"{self.result(name).stat().st_mtime_ns:x}"
        found = self.stored(name)
        if found is None:
            raise FileNotFoundError(f"{self.address(name)}: not there")
        return found.stamp

    def open(self, name: str) -> "pa.NativeFile":
        """A result to read; raises FileNotFoundError."""
        return self._lake.open(self._name(name))

    @contextmanager
    def create(self, name: str, parts: Sequence[Path]) -> Iterator[BinaryIO]:
        """What is written becomes the result, made of these chunk files, when the block ends well."""
        newest = _newest(parts)
        with self._lake.create(self._name(name)) as out:
            yield out
        if self.store is not None:
            found = self.stored(name)
            with whole_file(self._record(name)) as temporary:
                temporary.write_text(json.dumps({"stamp": found and found.stamp, "newest": newest}))

    def is_newer(self, name: str, parts: Sequence[Path]) -> bool:
        """Whether a result that is there was made of these chunk files as they are now.

        A store's clock is not this machine's, so that what it was made of is written down here.
        """
        if self.store is None:
            return self.result(name).stat().st_mtime_ns >= _newest(parts)
        with suppress(OSError, ValueError, LookupError):
            record = json.loads(self._record(name).read_text())
            found = self.stored(name)
            return found is not None and record["stamp"] == found.stamp and record["newest"] >= _newest(parts)
        return False

    def remove(self, name: str) -> None:
        """Remove a result, if it is there."""
        if self.stored(name) is not None:
            self._lake.remove(self._name(name))

    def locked(self) -> AbstractContextManager[None]:
        """Only one step at a time works in the folder, and no conversion; what a killed one left is removed.

        Raises:
            DestinationInUseError: another one works there for an hour.
        """
        return _locked(self.path)

    @property
    def _lake(self) -> Destination:
        return LocalDestination(self.path) if self.store is None else self.store

    def _name(self, name: str) -> str:
        return f"{name}.parquet" if self.store is None else f"{self.path.name}/{name}.parquet"

    def _record(self, name: str) -> Path:
        return self.path / ".results" / f"{name}.json"


def stored_results(folders: Mapping[str, PlateFolder], name: str) -> dict[str, Stored]:
    """The result of that name of each plate that has one; a store is listed, not asked for each plate."""
    lists: dict[str, dict[str, Stored]] = {}
    found = {}
    for plate, folder in folders.items():
        if folder.store is None:
            stored = folder.stored(name)
        else:
            lake = folder.store.address()
            if lake not in lists:
                lists[lake] = {item.name: item for item in folder.store.list()}
            stored = lists[lake].get(f"{folder.path.name}/{name}.parquet")
        if stored is not None:
            found[plate] = stored
    return found


def _newest(parts: Sequence[Path]) -> int:
    return max(part.stat().st_mtime_ns for part in parts)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.mkdir(parents=True, exist_ok=True)
    with LocalDestination(path).writing(wait=_WAIT):
        sweep(path, *path.glob(".*/"), *path.glob("chunks/*/"))
        yield
