"""Where the files of one plate of a lake lie: the plan and what is under way in a folder of this machine, the results
there too, or in a store.

<folder>/.plan/                        the plan that all of them were made by
<folder>/Cells.parquet ... single_cells.parquet, or <store>/<plate>/Cells.parquet ...
<folder>/.results/Cells.json ...       which chunks each of them is made of
<folder>/chunks/Cells/table            a table under way, of chunks that are made in order, and their footers beside it
<folder>/chunks/Cells/00000.parquet    chunks that are yet to become a part of their table
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cytotable_dagster.core.lake.records import ChunkPart, Record, read_record, write_record
from cytotable_dagster.core.steps.chunk_files import chunk_path
from cytotable_dagster.core.storage.destination import Destination, Stored
from cytotable_dagster.core.storage.local_destination import LocalDestination
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

    def under_way(self, name: str) -> Path:
        """The file of a table that is under way, in a folder of this machine."""
        return self.chunks(name) / "table"

    def footer(self, name: str, chunk: int) -> Path:
        """What is known of a chunk that lies there."""
        return self.chunks(name) / f"{chunk:05d}.footer"

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
        return self._state(name)[0]

    def place_of(self, name: str) -> tuple[Destination, str]:
        """The lake, and what a result is called there."""
        return self._lake, self._name(name)

    def open(self, name: str) -> "pa.NativeFile":
        """A result to read; raises FileNotFoundError."""
        return self._lake.open(self._name(name))

    @contextmanager
    def create(
        self, name: str, plan: str, columns: int, *, goes_on: bool = False
    ) -> Iterator[tuple[BinaryIO, list[ChunkPart]]]:
        """What is written becomes the result when the block ends well; it is written to a file of its own, or to that
        of the table under way, which `goes_on`. What the block puts into the list, the chunks that it is made of, is
        written down beside it, with how long that took."""
        began, chunks = time.perf_counter(), list[ChunkPart]()
        if goes_on:
            path = self.under_way(name)
            with path.open("r+b") as out:
                yield out, chunks
            # First, for without it nobody knows what the result is made of. Another name changes nothing that it tells.
            facts = path.stat()
            self._write_record(name, (f"{facts.st_mtime_ns:x}", facts.st_size), plan, began, columns, chunks)
            self._lake.move(path.relative_to(self.path).as_posix(), self._name(name))
            return
        with self._lake.create(self._name(name)) as out:
            yield out, chunks
        self._write_record(name, self._state(name), plan, began, columns, chunks)

    def _write_record(
        self, name: str, state: tuple[str, int], plan: str, began: float, columns: int, chunks: Iterable[ChunkPart]
    ) -> None:
        seconds = time.perf_counter() - began
        write_record(self.record(name), Record(*state, plan, seconds, columns, tuple(chunks)))

    def last(self, name: str) -> Record | None:
        """What was written down when a result was made, whether that is still there or not."""
        return read_record(self.record(name))

    def made(self, name: str) -> Record | None:
        """What was written down of the result that is there; None where there is none, or another put it there."""
        record = self.last(name)
        with suppress(FileNotFoundError):
            return record if record and (record.version, record.size) == self._state(name) else None
        return None

    def recorded(self) -> list[str]:
        """The names of results that were made here."""
        return [path.stem for path in (self.path / ".results").glob("[!.]*.json")]

    def remove(self, name: str) -> None:
        """Remove a result, if it is there."""
        if self.stored(name) is not None:
            self._lake.remove(self._name(name))
        self.record(name).unlink(missing_ok=True)

    def locked(self) -> AbstractContextManager[None]:
        """Only one step at a time works in the folder, and no conversion; what a killed one left is removed.

        Raises:
            DestinationInUseError: another one works there for an hour.
        """
        return _locked(self.path)

    def _state(self, name: str) -> tuple[str, int]:
        """What tells a result from others of its name, and its size; raises FileNotFoundError."""
        found = self.stored(name)
        if found is None:
            raise FileNotFoundError(f"{self.address(name)}: not there")
        # Of a local file when it was written: it may be moved with its lake.
        stamp = found.stamp if self.store is not None else f"{int(found.stamp.rpartition('-')[2]):x}"
        return stamp, found.size

    @property
    def _lake(self) -> Destination:
        return LocalDestination(self.path) if self.store is None else self.store

    def _name(self, name: str) -> str:
        return f"{name}.parquet" if self.store is None else f"{self.path.name}/{name}.parquet"

    def record(self, name: str) -> Path:
        """What a result was made of is written down there."""
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


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.mkdir(parents=True, exist_ok=True)
    with LocalDestination(path).writing(wait=_WAIT):
        sweep(path, *path.glob(".*/"), *path.glob("chunks/*/"))
        yield
