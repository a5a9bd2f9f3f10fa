"""One result of a table's chunk files, made while the chunks still come."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from cytotable_dagster.core.execution.runner import Call, Runner
from cytotable_dagster.core.model.coercions import as_facts, merged
from cytotable_dagster.core.model.types import FileFacts
from cytotable_dagster.core.parquet.concat import Concatenation
from cytotable_dagster.core.parquet.writing import footer
from cytotable_dagster.core.steps.chunk_files import chunk_path
from cytotable_dagster.core.support.cores import cores
from cytotable_dagster.core.support.files import size_of
from cytotable_dagster.core.support.memory import let_go_of_small
from cytotable_dagster.core.support.pieces import write_pieces
from cytotable_dagster.core.support.telling import tell

# Of many threads' chunks, each of 60 MB; those beyond wait as files.
_MOST_HELD = 2


def chunks_held() -> int:
    """Chunks of a table that may wait in memory for an earlier one: of two threads' seldom more than one is done out of
    turn, and each is as large as what a thread works on."""
    return min(max(cores() // 2, 1), _MOST_HELD)


class TableFile(AbstractContextManager["TableFile"]):
    """Takes chunk files in any order, from any thread, and appends each, as soon as those before it are there, to one
    file.

    A chunk file is removed once it is appended: most are gone before they ever reach the disk. Chunks that are in
    memory become files where too many of them wait for an earlier one.

    Args:
        folder: where the chunk files are; the one file is made beside it, with `.parquet` after its name.
        concat: False leaves the folder of chunk files as the result.
        out: written to and closed instead of the file beside the folder.
        into: grows instead, and is for others to finish.
        first: the number of the first chunk.
        then: is told of each chunk when it is appended.
    """

    def __init__(
        self,
        folder: Path,
        concat: bool,
        out: BinaryIO | None = None,
        into: Concatenation | None = None,
        first: int = 0,
        then: Callable[[FileFacts], None] | None = None,
    ) -> None:
        self._folder = folder
        self._path = folder.with_name(f"{folder.name}.parquet")
        self._own = self._path.open("wb") if concat and out is None and into is None else None
        self._out: BinaryIO | None = out or self._own
        self._concatenation = Concatenation(self._out) if self._out else into
        self._copied = 0
        self._facts: list[FileFacts] = []
        self._done: dict[Path, FileFacts] = {}
        self._next, self._then = first, then
        self._held = chunks_held()
        self._lock = threading.Lock()

    def __exit__(self, *_: object) -> None:
        if self._own is not None:
            self._own.close()

    def add(self, facts: Sequence[FileFacts]) -> int:
        """Take chunk files that are done; how many chunks are, all told."""
        with self._lock:
            self._facts.extend(replace(part, content=None) for part in facts)
            if self._concatenation is not None:
                # A file that exists may still be looked at by the task that made it; what a task gave back is done.
                self._done.update((part.path, part) for part in facts)
                while part := self._done.pop(chunk_path(self._folder, self._next), None):
                    self._copied += self._concatenation.append(part.path, part.content).size
                    if part.content is None:
                        part.path.unlink()
                    if self._then is not None:
                        self._then(replace(part, content=None))
                    self._next += 1
                self._spill()
            return len(self._facts)

    def _spill(self) -> None:
        """Write what waits in memory to its file, but for a few chunks."""
        held = [(part, part.content) for part in self._done.values() if part.content is not None]
        for part, content in held[self._held :]:
            part.path.parent.mkdir(parents=True, exist_ok=True)
            with part.path.open("wb") as file:
                write_pieces(file, [*content.data, content.footer])
            self._done[part.path] = replace(part, content=None)

    def finish(self, facts: Mapping[str, str]) -> FileFacts:
        """The result, when all chunks are done; `facts` go into the footer of the one file."""
        rows = sum(part.rows for part in self._facts)
        # As they are in the result, not as they came, for the first example is kept.
        in_order = sorted(self._facts, key=lambda part: part.path)
        coercions = merged([coercion for part in in_order for coercion in part.coercions])
        if self._concatenation is not None and self._out is not None:
            self._concatenation.finish(footer({**facts, "rows": str(rows), **as_facts(coercions)}))
            path, size = self._path, self._out.tell()
            self._out.close()
        elif self._concatenation is not None:
            path, size = self._path, self._copied
        else:
            path, size = self._folder, size_of(self._folder)
        return FileFacts(
            path=path,
            rows=rows,
            columns=self._facts[0].columns,
            size=size,
            seconds=sum(part.seconds for part in self._facts),
            coercions=coercions,
        )


def results_of(
    run: Runner,
    calls: Sequence[tuple[Sequence[str], Call]],
    tables: Mapping[str, TableFile],
    facts: Callable[[], Mapping[str, str]],
) -> dict[str, FileFacts]:
    """Run the calls that make the chunks of tables, and make one result of each table's.

    In this process it is the thread which made a chunk that appends it: what is done never waits for another thread
    while the one that made it begins with the next.

    Args:
        calls: each makes a chunk of one table or of several, a file each in this order, which `tables` take.
        facts: what the footer of every result tells, asked for when the first is done.
    """
    chunks, done = Counter(name for names, _ in calls for name in names), Counter[str]()
    result: dict[str, FileFacts] = {}
    with ExitStack() as files:
        for table in tables.values():
            files.enter_context(table)
        if run.in_process:
            calls = [(names, (taken, ([tables[name] for name in names], *call))) for names, call in calls]
        # Closed here, where what runs can still be waited for.
        ended = files.enter_context(closing(run.run(call for _, call in calls)))
        for position, made in ended:
            if not run.in_process:
                _take([tables[name] for name in calls[position][0]], made)
            for name in calls[position][0]:
                done[name] += 1
                tell(name, done[name], chunks[name])
                if done[name] == chunks[name]:
                    result[name] = tables[name].finish({**facts(), "compartment": name})
    return {name: result[name] for name in tables}


def taken(tables: Sequence[TableFile], function: Callable[..., Sequence[FileFacts]], arguments: Sequence[Any]) -> None:
    """Make a chunk of each of these tables, which take it."""
    _take(tables, function(*arguments))
    # Footers and buffers of columns, of thousands of columns: 60 MB of the joined table, for 4 ms.
    let_go_of_small()


def _take(tables: Sequence[TableFile], made: Sequence[FileFacts]) -> None:
    # What may be large is let go of before the next is appended.
    left = list(made)
    del made
    for table in tables:
        table.add([left.pop(0)])
