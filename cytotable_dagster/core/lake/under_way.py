"""Tables of a lake that are under way: the chunks that are done lie one behind the other in the file that becomes the
result, which then no byte of theirs is copied for.

Beside the file lies, for each chunk, the footer of a file that has its row groups alone, with what tells the chunk from
others. It is written when the chunk is whole, so that what a killed process left is known for what it is.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from cytotable_dagster.core.errors import DamagedSourceError, SchemaError
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.lake.records import ChunkPart
from cytotable_dagster.core.model.coercions import as_facts, in_facts, merged
from cytotable_dagster.core.model.types import SINGLE_CELLS, FileFacts
from cytotable_dagster.core.parquet.concat import Concatenation
from cytotable_dagster.core.parquet.groups import facts_of
from cytotable_dagster.core.parquet.parts import MAGIC, Part, Piece, footer_of
from cytotable_dagster.core.parquet.writing import footer
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.support.files import whole_file


@dataclass(frozen=True)
class DoneChunk:
    """A chunk in a table under way, and the footer that its row groups have there."""

    part: ChunkPart
    footer: Part

    @property
    def piece_in_footer(self) -> Piece:
        """Its piece of the table, as the footer has its row groups."""
        return replace(self.part.piece, first=0)


def done_chunks(plan: Plan, folder: PlateFolder, name: str) -> list[DoneChunk]:
    """The chunks of this plan that lie in a table under way, from the first on."""
    found: list[DoneChunk] = []
    with suppress(FileNotFoundError):
        size, end = folder.under_way(name).stat().st_size, len(MAGIC)
        for chunk in range(plan.chunk_count):
            done = _done(folder.footer(name, chunk), plan)
            if done is None or done.part.piece.at != end or end + done.part.piece.size > size:
                break
            end += done.part.piece.size
            found.append(done)
    return found


def _done(path: Path, plan: Plan) -> DoneChunk | None:
    try:
        part = footer_of(path)
        facts = facts_of(part)
        if facts["fingerprint"] != plan.fingerprint:
            return None
        first, groups, at, size = (int(facts[name]) for name in ("first", "groups", "at", "size"))
        piece = Piece(first, groups, part.rows, at, size, int(facts["xxh3"]))
        return DoneChunk(ChunkPart(facts["made"], piece, in_facts(facts)), part)
    except (OSError, SchemaError, ValueError, LookupError):
        return None


def gone_on_with(out: BinaryIO, path: Path, name: str, done: Sequence[DoneChunk]) -> Concatenation:
    """A table under way whose file was opened, behind these chunks that lie in it; what else is there is cut off."""
    # A joined chunk is told by what it is made of.
    whole = Concatenation(out, sums=name != SINGLE_CELLS)
    for chunk in done:
        whole.take_up(path, chunk.footer, chunk.part.piece)
    if done:
        out.truncate()
    return whole


class TableUnderWay(AbstractContextManager["TableUnderWay"]):
    """Notes the chunks of a table as their batches are appended to `whole`.

    Args:
        done: chunks that lie in it already.
        batches: of how many batches each chunk is.
        rows: how many rows each has.
        made: what a chunk is told by, by its number and piece.
    """

    def __init__(
        self,
        plan: Plan,
        folder: PlateFolder,
        name: str,
        done: Sequence[DoneChunk],
        batches: Sequence[int],
        rows: Sequence[int] | None,
        made: Callable[[int, Piece], str],
    ) -> None:
        self._plan, self._folder, self._name = plan, folder, name
        self._batches, self._rows, self._made = batches, rows, made
        self.before = len(done)
        self.parts = [chunk.part for chunk in done]
        self.seconds = [0.0 for _ in done]
        self._path = path = folder.under_way(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        for chunk in range(len(done), plan.chunk_count):
            folder.footer(name, chunk).unlink(missing_ok=True)
        self._out = path.open("r+b" if done else "wb")
        self.whole = gone_on_with(self._out, path, name, done)
        self._mark = self.whole.mark()
        self._waiting: list[FileFacts] = []

    def __exit__(self, *_: object) -> None:
        try:
            self._out.close()
        finally:
            if not self.parts:
                self._path.unlink()

    def note(self, batch: FileFacts) -> None:
        """Take note of a batch that was appended.

        Raises:
            DamagedSourceError: a chunk has not the rows that it is to have.
        """
        self._waiting.append(batch)
        chunk = len(self.parts)
        if len(self._waiting) < self._batches[chunk]:
            return
        piece = self.whole.since(self._mark)
        if self._rows is not None and piece.rows != self._rows[chunk]:
            raise DamagedSourceError(f"chunk {chunk}: {piece.rows} of {self._rows[chunk]} rows were read")
        coercions = merged([coercion for facts in self._waiting for coercion in facts.coercions])
        part = ChunkPart(self._made(chunk, piece), piece, coercions)
        self._out.flush()
        facts = {**chunk_entries(self._plan, self._name, chunk, part), "made": part.made, **_as_texts(piece)}
        with whole_file(self._folder.footer(self._name, chunk)) as temporary:
            temporary.write_bytes(MAGIC + self.whole.footer_since(self._mark, footer(facts)))
        self._mark = self.whole.mark()
        self.seconds.append(sum(facts.seconds for facts in self._waiting))
        self._waiting = []
        self.parts.append(part)


def _as_texts(piece: Piece) -> dict[str, str]:
    return {name: str(value) for name, value in vars(piece).items() if name != "rows"}


def chunk_entries(plan: Plan, name: str, chunk: int, part: ChunkPart) -> dict[str, str]:
    """What the footer of a chunk's own file tells, as `writing.footer` takes it."""
    found = {"compartment": name, "chunk": str(chunk), "rows": str(part.piece.rows)}
    return {**plan.facts(), **found, **as_facts(part.coercions)}


def now() -> str:
    """What a chunk is told by that is made at this moment, as those in files are by when these were written."""
    return f"{time.time_ns():x}"
