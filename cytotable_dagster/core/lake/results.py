"""Results of a lake's plates, made of their chunks: in a folder, or straight into a store.

What is there of a result stays as it is: of the chunks that are in it already the encoded bytes are copied.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from cytotable_dagster.core.errors import DamagedSourceError, SourceNotFoundError
from cytotable_dagster.core.execution.runner import Call
from cytotable_dagster.core.lake.chunks import Chunk, chunks_of, forget_waiting, joined_chunks
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.lake.pieces import Place, join_pieces, place_of
from cytotable_dagster.core.lake.records import ChunkPart
from cytotable_dagster.core.lake.splitting import split_up
from cytotable_dagster.core.lake.under_way import DoneChunk, done_chunks, gone_on_with
from cytotable_dagster.core.model.coercions import as_facts, in_facts, merged
from cytotable_dagster.core.model.types import SINGLE_CELLS, FileFacts
from cytotable_dagster.core.parquet.groups import facts_of
from cytotable_dagster.core.parquet.parts import footer_of, read_part
from cytotable_dagster.core.parquet.writing import facts_in, footer
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.shown import counted, human_bytes
from cytotable_dagster.core.steps.chunk_files import chunk_path
from cytotable_dagster.core.steps.joined import base_compartment, joined_columns, joined_compartments, left_out
from cytotable_dagster.core.support.files import scratch_folder
from cytotable_dagster.core.support.telling import remark, tell


def whole_compartment(plan: Plan, folder: PlateFolder, compartment: str) -> FileFacts:
    """One file of a compartment's chunks, of which no others are left; made where it is not there already.

    Raises:
        SourceNotFoundError: a chunk is not there.
        DamagedSourceError: its rows are not those of the source table; nothing is published.
    """
    chunks = chunks_of(plan, folder, compartment)
    _check_there(plan, folder, compartment, chunks)
    done = done_chunks(plan, folder, compartment)
    if done or any(chunk and chunk.file for chunk in chunks):
        if not _goes_on(done, chunks):
            split_up(plan, folder, compartment)
            chunks, done = chunks_of(plan, folder, compartment), []
        made = [chunk.made if chunk else "" for chunk in chunks]
        _publish(plan, folder, compartment, plan.part(compartment).rows, done, chunks, made, iter(()))
    forget_waiting(folder, compartment)
    return result_facts(folder, compartment)


def single_cells(plan: Plan, folder: PlateFolder, run: Callable[[Path], Any]) -> FileFacts:
    """The joined table of the compartments' chunks, made where it is not there already: of joined chunks that wait or
    are in it, and of those that have to be joined. `run` opens a runner in a folder.

    Raises:
        SourceNotFoundError: a chunk of a compartment is not there.
        DamagedSourceError: its rows are not those of the base table; nothing is published.
    """
    parts = {}
    for compartment in joined_compartments(plan):
        # What is under way is not read.
        split_up(plan, folder, compartment)
        parts[compartment] = chunks_of(plan, folder, compartment)
        _check_there(plan, folder, compartment, parts[compartment])
    joined, wanted = joined_chunks(plan, folder, list(parts.values()))
    done = done_chunks(plan, folder, SINGLE_CELLS)
    if not _goes_on(done, joined):
        split_up(plan, folder, SINGLE_CELLS)
        (joined, wanted), done = joined_chunks(plan, folder, list(parts.values())), []
    if done or not all(chunk and chunk.part for chunk in joined):
        rows = plan.part(base_compartment(plan)).rows - left_out(plan)
        places = {
            number: {name: place_of(folder, name, own) for name, chunks in parts.items() if (own := chunks[number])}
            for number, chunk in enumerate(joined)
            if chunk is None
        }
        with _joined(plan, folder, places, run) as rest:
            _publish(plan, folder, SINGLE_CELLS, rows, done, joined, wanted, rest)
    forget_waiting(folder, SINGLE_CELLS)
    return result_facts(folder, SINGLE_CELLS)


def _goes_on(done: Sequence[DoneChunk], chunks: Sequence[Chunk | None]) -> bool:
    """Whether what is done of a table under way is the first of these chunks, and no others; so it is where none is."""
    return all(chunk and chunk.part == own.part for chunk, own in zip(chunks, done, strict=False))


def _check_there(plan: Plan, folder: PlateFolder, compartment: str, chunks: Sequence[Chunk | None]) -> None:
    for number, chunk in enumerate(chunks):
        if chunk is None:
            raise SourceNotFoundError(
                f"{folder.address(compartment)}: chunk {number} is not there, or of another plan; {compartment} has to "
                "be made again"
            )


@contextmanager
def _joined(
    plan: Plan, folder: PlateFolder, places: Mapping[int, Mapping[str, Place]], run: Callable[[Path], Any]
) -> Iterator[Iterator[Path]]:
    """The files of joined chunks in order, which are made ahead of whoever takes them and removes them."""
    if not places:
        yield iter(())
        return
    with scratch_folder(folder.path / SINGLE_CELLS) as scratch, run(scratch) as runner:
        calls: list[Call] = [
            (join_pieces, (plan.folder, number, own, chunk_path(scratch / SINGLE_CELLS, number)))
            for number, own in places.items()
        ]
        # Closed here, where what runs can still be waited for.
        with closing(runner.run(calls)) as ended:
            yield _in_order(ended, len(calls))


def _in_order(ended: Iterator[tuple[int, tuple[FileFacts, ...]]], number: int) -> Iterator[Path]:
    ready: dict[int, Path] = {}
    given = 0
    for done, (position, (facts,)) in enumerate(ended, start=1):
        tell(SINGLE_CELLS, done, number)
        ready[position] = facts.path
        while path := ready.pop(given, None):
            given += 1
            yield path


def _publish(
    plan: Plan,
    folder: PlateFolder,
    name: str,
    rows: int,
    done: Sequence[DoneChunk],
    chunks: Sequence[Chunk | None],
    made: Sequence[str],
    rest: Iterator[Path],
) -> None:
    """Make a result of its chunks.

    Args:
        rows: as many as it has to have.
        done: the first of them, in the table under way that becomes the result; none where it is a new file.
        chunks: None for those whose files are the `rest`.
        made: what each of them will be told by.
    """
    columns = len(joined_columns(plan)) if name == SINGLE_CELLS else len(plan.schema(name))
    with folder.create(name, plan.fingerprint, columns, goes_on=bool(done)) as (out, parts):
        parts.extend(_appended(plan, folder, name, done, chunks, made, rest, out))
        found = sum(part.piece.rows for part in parts)
        if found != rows:
            table = plan.part(base_compartment(plan) if name == SINGLE_CELLS else name).table.name
            raise DamagedSourceError(
                f"{folder.address(name)}: {found} rows, where table {table} gives {rows}; nothing was published"
            )
    facts = result_facts(folder, name)
    said = counted(facts.rows, "row"), counted(facts.columns, "column"), human_bytes(facts.size)
    remark("wrote %s: %s x %s, %s", folder.address(name), *said)


def _appended(
    plan: Plan,
    folder: PlateFolder,
    name: str,
    done: Sequence[DoneChunk],
    chunks: Sequence[Chunk | None],
    made: Sequence[str],
    rest: Iterator[Path],
    out: BinaryIO,
) -> list[ChunkPart]:
    """Write the chunks one behind the other: behind those that are `done` the files of those that wait, or the row
    groups of those that are in the result that is there."""
    whole = gone_on_with(out, folder.under_way(name), name, done)
    found = [chunk.part for chunk in done]
    with ExitStack() as stack:
        if not done and any(chunk and chunk.part for chunk in chunks):
            there = stack.enter_context(closing(folder.open(name)))
            old = read_part(folder.address(name), there)
        for chunk, told in list(zip(chunks, made, strict=True))[len(done) :]:
            if chunk and chunk.part:
                piece = whole.append_piece(folder.address(name), there, old, chunk.part.piece)
                found.append(replace(chunk.part, piece=piece))
                continue
            file = chunk.file if chunk and chunk.file else next(rest)
            # Which rows of its compartments the joined table has is theirs to tell.
            coercions = () if name == SINGLE_CELLS else in_facts(facts_of(footer_of(file)))
            mark = whole.mark()
            whole.append(file)
            found.append(ChunkPart(told, whole.since(mark), coercions))
            if chunk is None:
                file.unlink()
    coerced = merged([coercion for part in found for coercion in part.coercions])
    rows = str(sum(part.piece.rows for part in found))
    whole.finish(footer({**plan.facts(), "compartment": name, "rows": rows, **as_facts(coerced)}))
    return found


def result_facts(folder: PlateFolder, name: str) -> FileFacts:
    """Facts of a result that is there."""
    path, record = folder.result(name), folder.made(name)
    if record is not None:
        coercions = merged([coercion for part in record.chunks for coercion in part.coercions])
        rows = sum(part.piece.rows for part in record.chunks)
        return FileFacts(path, rows, record.columns, record.size, record.seconds, coercions)
    import pyarrow.parquet as pq

    with folder.open(name) as file:
        metadata, size = pq.read_metadata(file), file.size()
    return FileFacts(path, metadata.num_rows, metadata.num_columns, size, 0.0, in_facts(facts_in(metadata)))


def result_version(plan: Plan, folder: PlateFolder, name: str) -> str:
    """What tells a result from the one that was there before it: its plan, and when it was written or its ETag."""
    return f"{plan.fingerprint}-{folder.version(name)}"
