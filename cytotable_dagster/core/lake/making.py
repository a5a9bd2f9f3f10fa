"""Chunks of a lake's plates, made in parallel: one that comes out as it was changes nothing."""

import filecmp
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from cytotable_dagster.core.errors import CytoTableError, DamagedSourceError
from cytotable_dagster.core.execution.runner import Call, Runner
from cytotable_dagster.core.lake.chunks import (
    ChunkOutcome,
    attempt,
    chunk_rows,
    is_joined_of,
    joined_made,
    moment,
    note_beside,
    parts_of,
)
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.lake.in_order import make_in_order
from cytotable_dagster.core.lake.records import ChunkPart
from cytotable_dagster.core.lake.splitting import split_up
from cytotable_dagster.core.lake.under_way import done_chunks
from cytotable_dagster.core.model.types import SINGLE_CELLS, FileFacts
from cytotable_dagster.core.parquet.concat import data_sum
from cytotable_dagster.core.planning.plan import Plan, load_plan
from cytotable_dagster.core.sources.state import unless_changed
from cytotable_dagster.core.steps.chunk_files import write_chunks
from cytotable_dagster.core.steps.join import convert_chunk
from cytotable_dagster.core.steps.joined import joined_compartments
from cytotable_dagster.core.support.files import needed_folder, scratch_folder, whole_file


@dataclass(frozen=True)
class _Target:
    """The file that a chunk is to wait in, and the chunk as it last became a part of its table, which is `there` still
    or not."""

    file: Path
    last: ChunkPart | None
    there: bool


def make_chunks(
    plan: Plan, folder: PlateFolder, wanted: Mapping[str, Sequence[int]], run: Runner, joined: bool = False
) -> Generator[ChunkOutcome, None, None]:
    """Convert chunks, by compartment; each as it ends. One that fails does not stop the others.

    Args:
        joined: of chunks that are made of all compartments, make that of the joined table too, by the same reading.
    """
    if run.in_process and folder.store is None:
        groups = _read_together(plan, tuple(wanted), joined=joined)
        made = yield from make_in_order(plan, folder, wanted, groups, run)
        wanted = {name: [chunk for chunk in own if (name, chunk) not in made] for name, own in wanted.items()}
    for name, own in wanted.items():
        if own and min(own) < len(done_chunks(plan, folder, name)):
            split_up(plan, folder, name)
    targets = {name: _targets(plan, folder, name) for name in (*wanted, SINGLE_CELLS)}
    asked: list[tuple[int, tuple[str, ...]]] = []
    for chunk in range(plan.chunk_count):
        names = tuple(name for name, chunks in wanted.items() if chunk in chunks)
        asked += [(chunk, group) for group in _read_together(plan, names, joined=joined)]
    failed = yield from _made(plan, targets, asked, run)
    # What failed of a reading together is made one by one, to know what fails, and to have the rest.
    yield from _made(plan, targets, [(chunk, (name,)) for chunk, names in failed for name in names], run)


def _read_together(plan: Plan, names: tuple[str, ...], *, joined: bool) -> list[tuple[str, ...]]:
    """What of a chunk of these compartments is made by one reading each."""
    return [(*names, SINGLE_CELLS)] if joined and is_joined_of(plan, names) else [(name,) for name in names]


def _made(
    plan: Plan,
    targets: Mapping[str, Sequence[_Target]],
    asked: Sequence[tuple[int, tuple[str, ...]]],
    run: Runner,
) -> Generator[ChunkOutcome, None, list[tuple[int, tuple[str, ...]]]]:
    """Make chunks of these tables together; those of several tables that failed."""
    failed = []
    calls: list[Call] = [
        (attempt, (_chunk_files, plan.folder, chunk, {name: targets[name][chunk] for name in names}))
        for chunk, names in asked
    ]
    # Closed here, where what runs can still be waited for.
    with closing(run.run(calls)) as ended:
        for position, made in ended:
            chunk, names = asked[position]
            compartments = tuple(name for name in names if name != SINGLE_CELLS)
            if not isinstance(made, CytoTableError):
                for name, facts, told in made:
                    yield _reconciled(plan, targets[name][chunk], name, chunk, facts, told)
            elif compartments == names:
                yield from (ChunkOutcome(name, chunk, made) for name in names)
            else:
                failed.append((chunk, compartments))
    return failed


def _targets(plan: Plan, folder: PlateFolder, compartment: str) -> list[_Target]:
    last = folder.last(compartment)
    parts = last.chunks if last and last.plan == plan.fingerprint else [None] * plan.chunk_count
    there = bool(parts_of(plan, folder, compartment))
    return [_Target(folder.chunk(compartment, chunk), part, there) for chunk, part in enumerate(parts)]


def _chunk_files(plan_folder: Path, chunk: int, targets: Mapping[str, _Target]) -> list[tuple[str, FileFacts, str]]:
    """Make a chunk's files, by table; of each compartment the facts, and what its chunk is told by."""
    plan = load_plan(plan_folder)
    with ExitStack() as stack:
        stack.enter_context(unless_changed(plan.source))
        scratch = {}
        for name, target in targets.items():
            stack.enter_context(needed_folder(target.file.parent))
            scratch[name] = stack.enter_context(scratch_folder(target.file.parent))
        if SINGLE_CELLS in targets:
            made = convert_chunk(plan_folder, chunk, scratch, checked=True)
        else:
            ((name, folder),) = scratch.items()
            made = write_chunks(plan_folder, name, (chunk,), folder, checked=True)
        files = dict(zip(targets, made, strict=True))
        joined = files.pop(SINGLE_CELLS, None)
        found = [
            (name, replace(facts, path=targets[name].file), _put(facts.path, targets[name]))
            for name, facts in files.items()
        ]
        if joined is not None:
            told = {name: told for name, _, told in found}
            _put_joined(joined.path, targets[SINGLE_CELLS], joined_made([told[c] for c in joined_compartments(plan)]))
    return found


def _put_joined(made: Path, target: _Target, told: str) -> None:
    """Let a joined chunk wait, with what it is made of beside it, unless it is in its table."""
    if target.there and target.last is not None and target.last.made == told:
        return
    note_beside(target.file).unlink(missing_ok=True)
    made.replace(target.file)
    with whole_file(note_beside(target.file)) as temporary:
        temporary.write_text(told)


def _put(made: Path, target: _Target) -> str:
    """Let a chunk's file wait for its table, unless the chunk is there with the same content; what it is told by."""
    if target.file.is_file() and filecmp.cmp(made, target.file, shallow=False):
        return moment(target.file)
    last = target.last
    if last is not None and (last.piece.size, last.piece.xxh3) == data_sum(made):
        if target.there:
            target.file.unlink(missing_ok=True)
            return last.made
        # What was made of it then is not made again.
        os.utime(made, ns=(written := int(last.made, 16), written))
    made.replace(target.file)
    return moment(target.file)


def _reconciled(plan: Plan, target: _Target, compartment: str, chunk: int, facts: FileFacts, made: str) -> ChunkOutcome:
    rows = chunk_rows(plan, compartment, chunk)
    if facts.rows == rows:
        return ChunkOutcome(compartment, chunk, facts, made)
    target.file.unlink(missing_ok=True)
    table = plan.part(compartment).table.name
    said = f"{plan.source.uri}: table {table}, chunk {chunk}: {facts.rows} of {rows} rows were read"
    return ChunkOutcome(compartment, chunk, DamagedSourceError(said))
