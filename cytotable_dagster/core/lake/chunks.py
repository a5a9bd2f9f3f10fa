"""Where the chunks of a lake's plate are: in the file of their table, which is there or under way, or in one of their
own until they are a part of that; and what is not as its plan wants it."""

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cytotable_dagster.core.errors import CytoTableError, SchemaError
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.lake.records import ChunkPart
from cytotable_dagster.core.lake.under_way import done_chunks
from cytotable_dagster.core.model.types import SINGLE_CELLS, FileFacts
from cytotable_dagster.core.parquet.groups import facts_of
from cytotable_dagster.core.parquet.parts import footer_of
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.steps.chunk_files import file_facts
from cytotable_dagster.core.steps.joined import joined_compartments
from cytotable_dagster.core.support.machine_errors import errors_of_machine


@dataclass(frozen=True)
class Chunk:
    """A chunk that is there: `made` tells it from the one that was there before it. It is a `part` of its table's file,
    there or under way, or waits in a `file` of its own."""

    made: str
    part: ChunkPart | None = None
    file: Path | None = None


@dataclass(frozen=True)
class ChunkOutcome:
    """What became of a chunk: the facts of its rows and what tells it from the one that was there before it (`made`),
    or the error that it could not be made for."""

    compartment: str
    chunk: int
    result: FileFacts | CytoTableError
    made: str = ""


def chunks_of(plan: Plan, folder: PlateFolder, compartment: str) -> tuple[Chunk | None, ...]:
    """The chunks of a compartment in order; None for one that is not there, not whole or not of this plan."""
    return tuple(
        _found(plan, part, file, moment(file) if _is_current(file, plan, chunk_rows(plan, compartment, chunk)) else "")
        for chunk, (part, file) in enumerate(_places(plan, folder, compartment))
    )


def joined_chunks(
    plan: Plan, folder: PlateFolder, of: Sequence[Sequence[Chunk | None]]
) -> tuple[tuple[Chunk | None, ...], tuple[str, ...]]:
    """The chunks of the joined table that are of these of its compartments, and what they are told by once they are."""
    wanted = tuple(joined_made([chunk.made for chunk in chunks if chunk]) for chunks in zip(*of, strict=True))
    found = []
    for made, (part, file) in zip(wanted, _places(plan, folder, SINGLE_CELLS), strict=True):
        waits = _noted(file) == made and _is_current(file, plan)
        chunk = _found(plan, part, file, made if waits else "")
        found.append(chunk if chunk and chunk.made == made else None)
    return tuple(found), wanted


def missing_chunks(plan: Plan, folder: PlateFolder, compartment: str) -> tuple[int, ...]:
    """The chunks of a compartment that have to be made."""
    return tuple(number for number, chunk in enumerate(chunks_of(plan, folder, compartment)) if chunk is None)


def chunk_facts(plan: Plan, compartment: str, chunk: Chunk) -> FileFacts:
    """Facts of a chunk that is there."""
    if chunk.file is not None:
        return file_facts(chunk.file, time.perf_counter())
    assert chunk.part is not None
    piece, columns = chunk.part.piece, len(plan.schema(compartment))
    return FileFacts(Path(compartment), piece.rows, columns, piece.size, 0.0, chunk.part.coercions)


def version_of(plan: Plan, made: str) -> str:
    """What tells a chunk from the one that was there before it: its plan, and when it was written."""
    return f"{plan.fingerprint}-{made}"


def moment(path: Path) -> str:
    """When a chunk's file was written."""
    return f"{path.stat().st_mtime_ns:x}"


def joined_made(of: Sequence[str]) -> str:
    """What tells a joined chunk from others: the chunks of compartments that it is made of."""
    return "-".join(of)


def note_beside(file: Path) -> Path:
    """Where a joined chunk that waits has what it is made of."""
    return file.with_suffix(".made")


def parts_of(plan: Plan, folder: PlateFolder, name: str) -> tuple[ChunkPart, ...]:
    """The chunks that the result is made of that is there, where it is of this plan; else none."""
    record = folder.made(name)
    return record.chunks if record and record.plan == plan.fingerprint else ()


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """A call's result, or the error that it ended with, so that other calls go on."""
    try:
        with errors_of_machine():
            return function(*arguments)
    except CytoTableError as error:
        return error


def forget_waiting(folder: PlateFolder, name: str) -> None:
    """Remove chunks that have become a part of their table, or are no longer wanted."""
    shutil.rmtree(folder.chunks(name), ignore_errors=True)
    with suppress(OSError):  # those of other tables wait
        folder.chunks(name).parent.rmdir()


def forget_compartment(folder: PlateFolder, compartment: str) -> None:
    """Remove what an earlier source had and this one has not."""
    folder.remove(compartment)
    forget_waiting(folder, compartment)


def forget_old_compartments(plan: Plan, folder: PlateFolder) -> None:
    """Remove results and chunks of tables that an earlier plan had and this one has not."""
    there = {path.name for path in folder.path.glob("chunks/*")} | set(folder.recorded())
    for name in there - {*plan.compartments, SINGLE_CELLS}:
        forget_compartment(folder, name)


def chunk_rows(plan: Plan, compartment: str, chunk: int) -> int:
    """How many rows of a compartment a chunk has."""
    return sum(map(len, plan.rows(compartment, chunk)))


def is_joined_of(plan: Plan, compartments: Sequence[str]) -> bool:
    """Whether these are all that the plate's joined table is made of."""
    return plan.base is not None and set(joined_compartments(plan)) <= set(compartments)


def _places(plan: Plan, folder: PlateFolder, name: str) -> list[tuple[ChunkPart | None, Path]]:
    """Each chunk as a part of the result that is there, if it is, and the file that it may wait in."""
    # Of a result that is there nothing is under way.
    found = parts_of(plan, folder, name) or [chunk.part for chunk in done_chunks(plan, folder, name)]
    parts = [*found, *[None] * (plan.chunk_count - len(found))]
    return [(part, folder.chunk(name, chunk)) for chunk, part in enumerate(parts)]


def _found(plan: Plan, part: ChunkPart | None, file: Path, waiting: str) -> Chunk | None:
    """A chunk that waits goes before a part, unless it has become that, as a step leaves it that is killed then."""
    if waiting and not (part and part.made == waiting):
        return Chunk(waiting, file=file)
    return Chunk(part.made, part) if part else None


def _noted(file: Path) -> str:
    with suppress(OSError):
        return note_beside(file).read_text()
    return ""


def _is_current(file: Path, plan: Plan, rows: int | None = None) -> bool:
    """Whether a file is there, whole, of this plan, with so many rows."""
    # Not by pyarrow, which takes a tenth of a second for a wide table.
    try:
        part = footer_of(file)
        return facts_of(part).get("fingerprint") == plan.fingerprint and rows in (None, part.rows)
    except (OSError, SchemaError, ValueError, LookupError):
        return False
