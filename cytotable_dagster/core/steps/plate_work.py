"""A plan carried out on a runner: chunks in parallel, and a file of each table's chunks."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from cytotable_dagster.core.execution.runner import Call, Runner
from cytotable_dagster.core.model.types import SINGLE_CELLS, FileFacts
from cytotable_dagster.core.parquet.concat import Concatenation
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.steps.chunk_files import write_chunks
from cytotable_dagster.core.steps.collect import TableFile, results_of
from cytotable_dagster.core.steps.join import convert_chunk
from cytotable_dagster.core.steps.joined import base_compartment
from cytotable_dagster.core.steps.sql_join import join_by_sql
from cytotable_dagster.core.steps.whole_tables import write_whole
from cytotable_dagster.core.support.telling import tell


@dataclass(frozen=True)
class Work:
    """One conversion under way. `digest` is the source's where it is still being computed; `out` opens what a
    table's one file is written to, where that is no file of the scratch folder; `into` gives what it is appended to
    instead, which others finish."""

    plan: Plan
    run: Runner
    scratch: Path
    concat: bool
    digest: "Future[str] | None"
    out: Callable[[str], BinaryIO] | None = None
    into: Callable[[str], Concatenation] | None = None

    def results(self, joined: bool, both: bool, sql: str | None = None) -> dict[str, FileFacts]:
        """The tables that are asked for, as files or folders of chunk files in the scratch folder: the `joined` one, by
        the plate's own join or a query, or each by itself, or `both`.

        Raises:
            TargetError: the plate has no table of objects to be joined.
        """
        if sql is not None:
            return self._joined_by_sql(sql, both=both)
        plan = self.plan
        apart = plan.compartments if both or not joined else ()
        calls: list[tuple[Sequence[str], Call]]
        if joined:
            base_compartment(plan)
            names = (*apart, SINGLE_CELLS)
            calls = [(names, call) for call in self._chunks_together(names)]
        else:
            calls = [((name,), call) for name in apart for call in self._chunks_of(name)]
        others = [part.table.compartment for part in plan.others]
        calls += [((name,), (write_whole, (plan.folder, name, self.scratch / name))) for name in others]
        return self._made((*apart, *others, *((SINGLE_CELLS,) if joined else ())), calls)

    def _chunks_of(self, compartment: str) -> Iterator[Call]:
        """What makes the chunks of a compartment."""
        for chunk in range(self.plan.chunk_count):
            folder = self.scratch / compartment
            yield write_chunks, (self.plan.folder, compartment, (chunk,), folder, self._in_memory(chunk))

    def _chunks_together(self, names: Sequence[str]) -> Iterator[Call]:
        """What makes the chunks of these compartments and of the joined table."""
        folders = {name: self.scratch / name for name in names}
        for chunk in range(self.plan.chunk_count):
            yield convert_chunk, (self.plan.folder, chunk, folders, self._in_memory(chunk))

    def _joined_by_sql(self, sql: str, *, both: bool) -> dict[str, FileFacts]:
        """The table that the user's query makes of the compartments, and `both`, those too."""
        made = replace(self, concat=True, out=None, into=None).results(False, False)
        files = {name: facts.path for name, facts in made.items()}
        whole = {**self._facts(), "compartment": SINGLE_CELLS}
        facts = join_by_sql(sql, files, self.scratch / f"{SINGLE_CELLS}.parquet", whole)
        tell(SINGLE_CELLS, 1, 1)
        coercions = tuple(coercion for own in made.values() for coercion in own.coercions)
        return {**(made if both else {}), SINGLE_CELLS: replace(facts, coercions=coercions)}

    def _in_memory(self, chunk: int) -> bool:
        """Whether a chunk, of one batch, goes into the one file without being a file before, which takes half of the
        time for writing."""
        return self.run.in_process and self.concat and len(self.plan.batches[chunk]) == 2

    def _made(self, names: Sequence[str], calls: Sequence[tuple[Sequence[str], Call]]) -> dict[str, FileFacts]:
        """Run the calls that make the chunks of these tables, and make one result of each table's."""
        tables = {
            name: TableFile(
                self.scratch / name, self.concat, self.out and self.out(name), self.into and self.into(name)
            )
            for name in names
        }
        return results_of(self.run, calls, tables, self._facts)

    def _facts(self) -> dict[str, str]:
        if self.digest is None:
            return self.plan.facts()
        return {**self.plan.facts(), "source_digest": self.digest.result()}
