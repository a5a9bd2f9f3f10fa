"""Plates converted into a lake, as Dagster's steps do it, without Dagster."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.execution.runner import Runner, runner, thread_config
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.lake import chunks, making, plans, results, splitting
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.model.types import FileFacts, Plate
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.storage.destination import Destination


def write_otherwise(folder: PlateFolder, compartment: str, chunk: int) -> None:
    """Let a chunk of a table that is there wait with the same rows in other bytes."""
    record = folder.made(compartment)
    assert record is not None
    piece = record.chunks[chunk].piece
    with folder.open(compartment) as opened, pq.ParquetFile(opened) as file:
        table = file.read_row_groups(range(piece.first, piece.first + piece.groups))
        facts = file.metadata.metadata
    path = folder.chunk(compartment, chunk)
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, table.schema, compression="snappy") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(facts)


@dataclass(frozen=True)
class LakePlate:
    """A plate of a lake in `root`, and its source; `in_order` lets chunks be appended to their tables as they are made."""

    root: Path
    name: str
    source: Path
    store: Destination | None = None
    chunks: int = 2
    in_order: bool = True

    @property
    def folder(self) -> PlateFolder:
        return PlateFolder(self.root / "lake" / self.name, self.store)

    @property
    def options(self) -> Options:
        return Options(chunks=self.chunks)

    def prepare(self) -> Plan:
        with self.folder.locked():
            return plans.prepare(Plate(self.name, str(self.source)), self.folder, None, self.options, Cache())

    @property
    def plan(self) -> Plan:
        return plans.kept_plan(self.name, self.folder, self.options)

    def make(
        self, wanted: Mapping[str, Sequence[int]], *, joined: bool = False
    ) -> dict[tuple[str, int], FileFacts | CytoTableError]:
        """What became of chunks; `joined` as of `make_chunks`."""
        with (
            self.folder.locked(),
            plans.with_source(self.plan, self.folder, Cache()) as here,
            self.runner(self.root / "run") as run,
        ):
            return {
                (outcome.compartment, outcome.chunk): outcome.result
                for outcome in making.make_chunks(here, self.folder, wanted, run, joined)
            }

    def runner(self, scratch: Path) -> AbstractContextManager[Runner]:
        """Where its chunks are made."""
        config = thread_config(2)
        # What Parsl may make again is not handed over in memory.
        config.retries = 0 if self.in_order else 1
        return runner(config, scratch)

    def missing(self, compartment: str) -> tuple[int, ...]:
        return chunks.missing_chunks(self.plan, self.folder, compartment)

    def versions(self, name: str) -> list[str | None]:
        """What tells each chunk of a table from those before it; None where it is missing."""
        found = chunks.chunks_of(self.plan, self.folder, name)
        return [chunk and chunks.version_of(self.plan, chunk.made) for chunk in found]

    def split_up(self, name: str) -> None:
        """Let chunks of a table under way wait in files of their own."""
        splitting.split_up(self.plan, self.folder, name)

    def write_otherwise(self, compartment: str, chunk: int) -> None:
        """Let a chunk wait as another release of Arrow would have written it."""
        write_otherwise(self.folder, compartment, chunk)

    def convert(self, *compartments: str, joined: bool = False) -> dict[str, FileFacts]:
        """Make what is missing of these tables, or of all that the joined one is made of, and the joined one."""
        plan = self.prepare()
        names = plan.compartments if joined else compartments
        made = self.make({name: self.missing(name) for name in names}, joined=joined)
        assert not [result for result in made.values() if isinstance(result, Exception)], made
        with self.folder.locked():
            found = {name: results.whole_compartment(plan, self.folder, name) for name in names}
            if joined:
                found["single_cells"] = results.single_cells(plan, self.folder, self.runner)
        return found
