"""Chunks of tables that are made anew, by threads of this process, from the first to the last: each is appended to its
table by the thread that made it, and never is a file of its own."""

import itertools
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.execution.runner import Call, Runner
from cytotable_dagster.core.lake.chunks import ChunkOutcome, attempt, chunk_rows, joined_made, parts_of
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.lake.under_way import TableUnderWay, done_chunks, now
from cytotable_dagster.core.model.types import SINGLE_CELLS, FileFacts
from cytotable_dagster.core.parquet.parts import Piece
from cytotable_dagster.core.planning.plan import Plan, by_batch, load_plan
from cytotable_dagster.core.sources.state import unless_changed
from cytotable_dagster.core.steps.chunk_files import write_chunks
from cytotable_dagster.core.steps.collect import TableFile, taken
from cytotable_dagster.core.steps.join import convert_chunk
from cytotable_dagster.core.steps.joined import joined_compartments
from cytotable_dagster.core.support.files import scratch_folder

Group = tuple[str, ...]


def make_in_order(
    plan: Plan, folder: PlateFolder, wanted: Mapping[str, Sequence[int]], groups: Sequence[Group], run: Runner
) -> Generator[ChunkOutcome, None, set[tuple[str, int]]]:
    """Make chunks of groups of tables that are read together, where all that is missing of them is wanted and nothing
    else of them is there; those of compartments that were made, which are all but where one failed.

    Args:
        run: of this process.
    """
    begun = {group: first for group in groups if (first := _first(plan, folder, wanted, group)) is not None}
    made = set[tuple[str, int]]()
    if not begun:
        return made
    with ExitStack() as stack:
        scratch = stack.enter_context(scratch_folder(folder.path))
        tables = dict[str, TableUnderWay]()
        for name in itertools.chain(*begun):
            tables[name] = stack.enter_context(_table(plan, folder, name, tables))
        calls = _calls(plan, by_batch(plan, scratch / "plan"), scratch, begun, tables)
        failed: list[CytoTableError] = []
        # What fails is told by who makes it again. Closed here, where what runs can still be waited for.
        with closing(run.run(itertools.takewhile(lambda _: not failed, calls))) as ended:
            for _, error in ended:
                failed += [error] if error is not None else []
                for outcome in _news(plan, folder, tables, made):
                    made.add((outcome.compartment, outcome.chunk))
                    yield outcome
    return made


def _first(plan: Plan, folder: PlateFolder, wanted: Mapping[str, Sequence[int]], group: Group) -> int | None:
    """The chunk from which on tables can be made in order; None where they cannot."""
    first, *others = {len(done_chunks(plan, folder, name)) for name in group}
    rest = list(range(first, plan.chunk_count))
    if others or not rest or any(list(wanted[name]) != rest for name in group if name != SINGLE_CELLS):
        return None
    there = (parts_of(plan, folder, name) or any(folder.chunks(name).glob("*.parquet")) for name in group)
    return None if any(there) else first


def _table(plan: Plan, folder: PlateFolder, name: str, tables: Mapping[str, TableUnderWay]) -> TableUnderWay:
    joined = name == SINGLE_CELLS
    last = folder.last(name)
    parts = last.chunks if last and last.plan == plan.fingerprint else ()

    def made(chunk: int, piece: Piece) -> str:
        if joined:
            return joined_made([tables[own].parts[chunk].made for own in joined_compartments(plan)])
        # What was made of the same content then is not made again.
        if parts and (parts[chunk].piece.size, parts[chunk].piece.xxh3) == (piece.size, piece.xxh3):
            return parts[chunk].made
        return now()

    rows = None if joined else [chunk_rows(plan, name, chunk) for chunk in range(plan.chunk_count)]
    batches = [len(bounds) - 1 for bounds in plan.batches]
    return TableUnderWay(plan, folder, name, done_chunks(plan, folder, name), batches, rows, made)


def _calls(
    plan: Plan, batch_plan: Path, scratch: Path, begun: Mapping[Group, int], tables: Mapping[str, TableUnderWay]
) -> Iterator[Call]:
    """What makes the batches that are missing, of all groups by turns."""
    ends = list(itertools.accumulate((len(bounds) - 1 for bounds in plan.batches), initial=0))
    files = {
        name: TableFile(scratch / name, True, into=tables[name].whole, first=ends[first], then=tables[name].note)
        for group, first in begun.items()
        for name in group
    }
    for batch in range(ends[-1]):
        for group, first in begun.items():
            if batch >= ends[first]:
                own = [files[name] for name in group]
                yield attempt, (partial(_append, batch_plan, batch, {name: scratch / name for name in group}), own)


def _append(batch_plan: Path, batch: int, folders: Mapping[str, Path], files: Sequence[TableFile]) -> None:
    """Make a batch of these tables, which take it."""
    with unless_changed(load_plan(batch_plan).source):
        if SINGLE_CELLS in folders:
            taken(files, convert_chunk, (batch_plan, batch, folders, True, True))
        else:
            ((name, folder),) = folders.items()
            taken(files, write_chunks, (batch_plan, name, (batch,), folder, True, True))


def _news(
    plan: Plan, folder: PlateFolder, tables: Mapping[str, TableUnderWay], known: set[tuple[str, int]]
) -> Iterator[ChunkOutcome]:
    """The chunks of compartments that were made and that are not yet known."""
    for name, table in tables.items():
        for chunk in range(table.before, len(table.parts)) if name != SINGLE_CELLS else ():
            if (name, chunk) not in known:
                part = table.parts[chunk]
                columns = len(plan.schema(name))
                facts = FileFacts(
                    folder.under_way(name),
                    part.piece.rows,
                    columns,
                    part.piece.size,
                    table.seconds[chunk],
                    part.coercions,
                )
                yield ChunkOutcome(name, chunk, facts, part.made)
