"""Chunk files: the rows of a chunk as one Parquet file, or as what would be in it."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.model.coercions import as_facts, in_facts, merged
from cytotable_dagster.core.model.types import SINGLE_CELLS, Coercion, FileFacts
from cytotable_dagster.core.model.values import as_example, whole_numbers_rounded
from cytotable_dagster.core.parquet.refit import fitted
from cytotable_dagster.core.parquet.writing import encoded_content, facts_in, growing_file
from cytotable_dagster.core.planning.plan import Plan, load_plan
from cytotable_dagster.core.sources.state import check_unchanged
from cytotable_dagster.core.steps.batches import read_batches
from cytotable_dagster.core.steps.joined import joined_columns
from cytotable_dagster.core.support.files import size_of
from cytotable_dagster.core.support.pieces import Content

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from cytotable_dagster.core.parquet.columns import Columns
    from cytotable_dagster.core.steps.batches import Batch


def chunk_path(folder: Path, chunk: int) -> Path:
    """Where a chunk's file lies in its compartment's folder."""
    return folder / f"{chunk:05d}.parquet"


def write_chunks(
    plan_folder: Path,
    compartment: str,
    wanted: Sequence[int],
    folder: Path,
    in_memory: bool = False,
    checked: bool = False,
) -> tuple[FileFacts, ...]:
    """Convert chunks of one compartment; a file each in `folder`, under its final name only when whole.

    A chunk without rows becomes an empty table with the full schema.

    Args:
        in_memory: give what would be in the files instead of writing them, of chunks of one batch.
        checked: make sure that the source is unchanged before a file appears.

    Raises:
        DamagedSourceError, SourceChangedError: the source cannot be read to the end.
    """
    plan = load_plan(plan_folder)
    rows = [plan.rows(compartment, chunk) for chunk in wanted]
    batches = read_batches(plan, compartment, list(itertools.chain(*rows)))
    schema = plan.schema(compartment)
    return tuple(
        _filled(
            chunk_file(plan, compartment, schema, chunk, chunk_path(folder, chunk), in_memory, checked),
            itertools.islice(batches, len(own)),
        )
        for chunk, own in zip(wanted, rows, strict=True)
    )


def write_chunk(
    path: Path,
    schema: "pa.Schema",
    batches: "Iterable[Batch]",
    facts: Mapping[str, str],
    in_memory: bool = False,
    check: Callable[[], None] | None = None,
) -> FileFacts:
    """Write batches as the row groups of one file; see `ChunkFile`."""
    return _filled(ChunkFile(path, schema, facts, in_memory, check), batches)


def _filled(chunk_file: "ChunkFile", batches: "Iterable[Batch]") -> FileFacts:
    with chunk_file as file:
        for batch in batches:
            file.add(batch)
        return file.finish()


def chunk_file(
    plan: Plan,
    table: str,
    schema: "pa.Schema",
    chunk: int,
    path: Path,
    in_memory: bool = False,
    checked: bool = False,
) -> "ChunkFile":
    """The file of a table's chunk, to be filled; `in_memory` and `checked` as of `write_chunks`."""
    facts = {**plan.facts(), "compartment": table, "chunk": str(chunk)}
    schema = plan.fitted_schema(table) or schema
    check = partial(check_unchanged, plan.source) if checked else None
    return ChunkFile(path, schema, facts, in_memory, check, partial(_origin, plan, table))


class ChunkFile(AbstractContextManager["ChunkFile"]):
    """A chunk's file under way: batches become its row groups as they come. It appears when it is finished, and `check`
    raises nothing. `in_memory` gives what would be in it instead, of one batch; `origin` the source table and column of
    a column; `schema` is what the file has."""

    def __init__(
        self,
        path: Path,
        schema: "pa.Schema",
        facts: Mapping[str, str],
        in_memory: bool = False,
        check: Callable[[], None] | None = None,
        origin: Callable[[str], tuple[str, str]] | None = None,
    ) -> None:
        self._path, self.schema, self._facts, self._check = path, schema, facts, check
        self._origin = origin or (lambda column: (facts["compartment"], column))
        self._started = time.perf_counter()
        self._open = ExitStack()
        self._file = None if in_memory else self._open.enter_context(growing_file(path, schema, facts))
        self._content: Content | None = None
        self._rows = 0
        self._found: list[Coercion] = []

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def add(self, batch: "Batch") -> "Columns":
        """Encode a batch's table; its columns as they are in the file."""
        from cytotable_dagster.core.parquet.columns import encoded_columns
        from cytotable_dagster.core.parquet.layout import layout_of

        table, coercions = batch
        coercions = (*coercions, *self._rounded(table))
        columns = encoded_columns(layout_of(self.schema), fitted(table, self.schema))
        self.add_encoded([columns], None, coercions)
        return columns

    def add_encoded(
        self, sides: "Sequence[Columns]", of: "np.ndarray | None", coercions: Sequence[Coercion] = ()
    ) -> None:
        """Take a batch's columns that are encoded; `sides` and `of` as `parquet.encoding.row_group` has them."""
        self._rows += sides[0].rows
        self._found.extend(coercions)
        if self._file is not None:
            self._file.add_encoded(sides, of)
        elif self._content is None:
            self._content = encoded_content(self.schema, sides, of, self._facts, as_facts(merged(coercions)))
        else:
            raise ValueError(f"{self._path}: a file of several batches is none of memory")

    def _rounded(self, table: "pa.Table") -> Iterator[Coercion]:
        """Whole numbers that are rounded, as another plate's column of the name holds decimals."""
        if table.schema.equals(self.schema):
            return
        types = dict(zip(self.schema.names, self.schema.types, strict=True))
        for name, values in zip(table.column_names, table.columns, strict=True):
            if name in types and (lost := whole_numbers_rounded(values, types[name])):
                yield Coercion(name, len(lost), as_example(lost[0]), *self._origin(name), rounded=len(lost))

    def finish(self) -> FileFacts:
        """The file, when all batches are there."""
        if self._check is not None:
            self._check()
        coercions = merged(self._found)
        if self._file is not None:
            self._file.finish(as_facts(coercions))
        self._open.close()
        size = size_of(self._path) if self._content is None else self._content.size
        seconds = time.perf_counter() - self._started
        return FileFacts(self._path, self._rows, len(self.schema), size, seconds, coercions, self._content)


def file_facts(path: Path, started: float) -> FileFacts:
    """Facts of a Parquet file begun at `started` (as of time.perf_counter)."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path)
    return FileFacts(
        path=path,
        rows=metadata.num_rows,
        columns=metadata.num_columns,
        size=size_of(path),
        seconds=time.perf_counter() - started,
        coercions=in_facts(facts_in(metadata)),
    )


def _origin(plan: Plan, table: str, column: str) -> tuple[str, str]:
    """The source table and column of a column that a plan's table has."""
    compartment, name = table, column
    if table == SINGLE_CELLS:
        compartment, name = next((one.compartment, one.column) for one in joined_columns(plan) if one.name == column)
    part = plan.part(compartment)
    return part.table.name, next((one.source for one in part.columns if one.name == name), name)
