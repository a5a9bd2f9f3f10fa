"""Plates converted into a lake, as Dagster's steps do it, without Dagster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.execution.runner import runner, thread_config
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.lake import chunks, making, plans, results
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
    """A plate of a lake in `root`, and its source."""

    root: Path
    name: str
    source: Path
    store: Destination | None = None
    chunks: int = 2

    @property
    def folder(self) -> PlateFolder:
        return PlateFolder(self.root / "lake" / self.name, self.store)

    @property
    def options(self) -> Options:
        return Options(chunks=self.chunks)

    def prepare(self) -> Plan:
        with self.folder.locked():
            return plans.prepare(Plate(self.name, str(self.source)), self.folder, None, self.options, Cache())

    def make(
        self, wanted: Mapping[str, Sequence[int]], *, joined: bool = False
    ) -> dict[tuple[str, int], FileFacts | CytoTableError]:
        """What became of chunks; `joined` as of `make_chunks`."""
        plan = plans.kept_plan(self.name, self.folder, self.options)
        with (
            self.folder.locked(),
            plans.with_source(plan, self.folder, Cache()) as here,
            runner(thread_config(1), self.root / "run") as run,
        ):
            return {
                (outcome.compartment, outcome.chunk): outcome.result
                for outcome in making.make_chunks(here, self.folder, wanted, run, joined)
            }

    def missing(self, compartment: str) -> tuple[int, ...]:
        return chunks.missing_chunks(plans.kept_plan(self.name, self.folder, self.options), self.folder, compartment)

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
                found["single_cells"] = results.single_cells(
                    plan, self.folder, lambda scratch: runner(thread_config(1), scratch)
                )
        return found
