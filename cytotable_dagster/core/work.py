"""A plan carried out on a runner: chunks in parallel, files in a scratch folder, then the final names."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

from cytotable_dagster.core.compartments import chunk_groups, chunk_path, concat_chunks, write_chunks
from cytotable_dagster.core.executors import Call, Runner
from cytotable_dagster.core.files import move_into_place, size_of
from cytotable_dagster.core.plan import Plan
from cytotable_dagster.core.single_cells import join_chunks, joined_compartments
from cytotable_dagster.core.sql_join import join_by_sql
from cytotable_dagster.core.types import FileFacts
from cytotable_dagster.core.values import merged

SINGLE_CELLS = "single_cells"
# What is being made, how many of its chunks are done, how many there are.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Work:
    """One conversion under way. `digest` is the source's MD5 where it is still being computed."""

    plan: Plan
    run: Runner
    scratch: Path
    concat: bool
    digest: "Future[str] | None"
    progress: Progress

    def compartments(self) -> dict[str, FileFacts]:
        """Each compartment's file, or folder of chunk files, in the scratch folder."""
        names = self.plan.compartments
        calls: list[Call] = []
        owners: list[str] = []
        for name in names:
            for group in chunk_groups(self.plan, [name], range(self.plan.chunk_count)):
                calls.append((write_chunks, (self.plan.folder, name, group, self.scratch / name)))
                owners.append(name)
        parts: dict[str, list[FileFacts]] = {name: [] for name in names}
        result: dict[str, FileFacts] = {}
        for position, facts in self.run.run(calls):
            name = owners[position]
            parts[name].extend(facts)
            self.progress(name, len(parts[name]), self.plan.chunk_count)
            if len(parts[name]) == self.plan.chunk_count:
                result[name] = self._whole(name, parts[name])
        return {name: result[name] for name in names}

    def single_cells(self) -> FileFacts:
        """The joined table in the scratch folder."""
        groups = chunk_groups(self.plan, joined_compartments(self.plan), range(self.plan.chunk_count))
        folder = self.scratch / SINGLE_CELLS
        parts: list[FileFacts] = []
        for _, facts in self.run.run((join_chunks, (self.plan.folder, group, folder)) for group in groups):
            parts.extend(facts)
            self.progress(SINGLE_CELLS, len(parts), self.plan.chunk_count)
        return self._whole(SINGLE_CELLS, parts)

    def joined_by_sql(self, sql: str) -> FileFacts:
        """The table that the user's query makes of the compartments."""
        files = {name: facts.path for name, facts in replace(self, concat=True).compartments().items()}
        facts = join_by_sql(sql, files, self.scratch / f"{SINGLE_CELLS}.parquet", self._facts())
        self.progress(SINGLE_CELLS, 1, 1)
        return facts

    def _whole(self, name: str, parts: Sequence[FileFacts]) -> FileFacts:
        """One result of a table's chunk files."""
        folder = self.scratch / name
        seconds = sum(part.seconds for part in parts)
        coercions = merged([coercion for part in parts for coercion in part.coercions])
        if self.concat:
            paths = [chunk_path(folder, chunk) for chunk in range(self.plan.chunk_count)]
            facts = concat_chunks(paths, self.scratch / f"{name}.parquet", {**self._facts(), "compartment": name})
            return replace(facts, seconds=seconds + facts.seconds, coercions=coercions)
        return FileFacts(
            path=folder,
            rows=sum(part.rows for part in parts),
            columns=parts[0].columns,
            size=size_of(folder),
            seconds=seconds,
            coercions=coercions,
        )

    def _facts(self) -> dict[str, str]:
        if self.digest is None:
            return self.plan.facts()
        return {**self.plan.facts(), "source_md5": self.digest.result()}


def published(facts: FileFacts, path: Path) -> FileFacts:
    """Give a finished file or folder its final name."""
    move_into_place(facts.path, path)
    return replace(facts, path=path)
