"""A plan carried out on a runner: chunks in parallel, and a file of each table's chunks."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from cytotable_dagster.core.execution.runner import Call, Runner
from cytotable_dagster.core.model.types import SINGLE_CELLS, FileFacts, Progress
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.steps.chunk_files import write_chunks
from cytotable_dagster.core.steps.collect import TableFile
from cytotable_dagster.core.steps.join import join_chunks
from cytotable_dagster.core.steps.sql_join import join_by_sql
from cytotable_dagster.core.steps.whole_tables import write_whole


@dataclass(frozen=True)
class Work:
    """One conversion under way. `digest` is the source's MD5 where it is still being computed; `out` opens what a
    table's one file is written to, where that is no file of the scratch folder."""

    plan: Plan
    run: Runner
    scratch: Path
    concat: bool
    digest: "Future[str] | None"
    progress: Progress
    out: Callable[[str], BinaryIO] | None = None

    def compartments(self) -> dict[str, FileFacts]:
        """Each compartment's file, or folder of chunk files, in the scratch folder; and of tables that are taken
        whole."""
        calls: dict[str, list[Call]] = {
            name: [
                (write_chunks, (self.plan.folder, name, (chunk,), self.scratch / name, self._in_memory(chunk)))
                for chunk in range(self.plan.chunk_count)
            ]
            for name in self.plan.compartments
        }
        for part in self.plan.others:
            name = part.table.compartment
            calls[name] = [(write_whole, (self.plan.folder, name, self.scratch / name))]
        return self._made(calls)

    def single_cells(self) -> FileFacts:
        """The joined table in the scratch folder."""
        folder = self.scratch / SINGLE_CELLS
        calls: list[Call] = [
            (join_chunks, (self.plan.folder, (chunk,), folder, self._in_memory(chunk)))
            for chunk in range(self.plan.chunk_count)
        ]
        return self._made({SINGLE_CELLS: calls})[SINGLE_CELLS]

    def joined_by_sql(self, sql: str) -> FileFacts:
        """The table that the user's query makes of the compartments."""
        made = replace(self, concat=True, out=None).compartments()
        files = {name: facts.path for name, facts in made.items()}
        whole = {**self._facts(), "compartment": SINGLE_CELLS}
        facts = join_by_sql(sql, files, self.scratch / f"{SINGLE_CELLS}.parquet", whole)
        self.progress(SINGLE_CELLS, 1, 1)
        return replace(facts, coercions=tuple(coercion for own in made.values() for coercion in own.coercions))

    def _in_memory(self, chunk: int) -> bool:
        """Whether a chunk, of one batch, goes into the one file without being a file before, which takes half of the
        time for writing."""
        return self.run.in_process and self.concat and len(self.plan.batches[chunk]) == 2

    def _made(self, calls: Mapping[str, Sequence[Call]]) -> dict[str, FileFacts]:
        """Run the calls that make each table's chunks, and make one result of each table's."""
        owners = [name for name, own in calls.items() for _ in own]
        tables = {name: TableFile(self.scratch / name, self.concat, self.out and self.out(name)) for name in calls}
        result: dict[str, FileFacts] = {}
        with ExitStack() as files:
            for table in tables.values():
                files.enter_context(table)
            # Closed here, where what runs can still be waited for.
            ended = files.enter_context(closing(self.run.run(call for own in calls.values() for call in own)))
            for position, facts in ended:
                name = owners[position]
                done = tables[name].add(facts)
                # Which may be large, and would be held until the next one is done.
                del facts
                self.progress(name, done, len(calls[name]))
                if done == len(calls[name]):
                    result[name] = tables[name].finish({**self._facts(), "compartment": name})
        return {name: result[name] for name in calls}

    def _facts(self) -> dict[str, str]:
        if self.digest is None:
            return self.plan.facts()
        return {**self.plan.facts(), "source_md5": self.digest.result()}
