"""Compartments: chunks of a source table to chunk files, chunk files to one file."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import SchemaError
from cytotable_dagster.core.files import size_of
from cytotable_dagster.core.parquet import concat, row_count, write_batches
from cytotable_dagster.core.plan import Plan, load_plan
from cytotable_dagster.core.types import Coercion, FileFacts
from cytotable_dagster.core.values import merged

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def chunk_path(folder: Path, chunk: int) -> Path:
    """Where a chunk's file lies in its compartment's folder."""
    return folder / f"{chunk:05d}.parquet"


def chunk_groups(plan: Plan, compartments: Sequence[str], wanted: Sequence[int]) -> list[tuple[int, ...]]:
    """Chunks that one task takes together: each alone where any part of a table can be read, all where reading
    means a scan of the whole table."""
    if any(plan.part(compartment).reader == "scan" for compartment in compartments):
        return [tuple(wanted)]
    return [(chunk,) for chunk in wanted]


def write_chunks(plan_folder: Path, compartment: str, wanted: Sequence[int], folder: Path) -> tuple[FileFacts, ...]:
    """Convert chunks of one compartment; a file each in `folder`, under its final name only when whole.

    A chunk without rows becomes an empty table with the full schema.

    Raises:
        DamagedSourceError, SourceChangedError: the source cannot be read to the end.
    """
    plan = load_plan(plan_folder)
    batches = read_batches(plan, compartment, wanted)
    return tuple(_write_chunk(plan, compartment, chunk, batches, chunk_path(folder, chunk)) for chunk in wanted)


def read_batches(
    plan: Plan, compartment: str, wanted: Sequence[int]
) -> "Iterator[tuple[pa.Table, tuple[Coercion, ...]]]":
    """All batches of these chunks of a compartment, in the result's names and types; one pass over the source."""
    import pyarrow as pa

    columns = plan.part(compartment).columns
    names = [column.source for column in columns]
    types = [pa.type_for_alias(column.read_type) for column in columns]
    rows = [batch for chunk in wanted for batch in plan.rows(compartment, chunk)]
    for arrays, coercions in plan.open(compartment).batches(rows, names, types):
        yield _as_result(plan, compartment, arrays), coercions


def concat_chunks(parts: Sequence[Path], path: Path, facts: Mapping[str, str]) -> FileFacts:
    """Make one file of chunk files, in order; `facts` go into its footer."""
    started = time.perf_counter()
    concat(parts, path, {**facts, "rows": str(sum(map(row_count, parts)))})
    return file_facts(path, started)


def file_facts(path: Path, started: float, coercions: Sequence[Coercion] = ()) -> FileFacts:
    """Facts of a Parquet file begun at `started` (as of time.perf_counter)."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path)
    return FileFacts(
        path=path,
        rows=metadata.num_rows,
        columns=metadata.num_columns,
        size=size_of(path),
        seconds=time.perf_counter() - started,
        coercions=merged(coercions),
    )


def _write_chunk(
    plan: Plan,
    compartment: str,
    chunk: int,
    batches: "Iterator[tuple[pa.Table, tuple[Coercion, ...]]]",
    path: Path,
) -> FileFacts:
    started = time.perf_counter()
    rows: list[np.ndarray] = plan.rows(compartment, chunk)
    found: list[Coercion] = []

    def tables() -> "Iterator[pa.Table]":
        for _ in rows:
            table, coercions = next(batches)
            found.extend(coercions)
            yield table

    facts = {
        **plan.facts(),
        "compartment": compartment,
        "chunk": str(chunk),
        "rows": str(sum(map(len, rows))),
    }
    write_batches(path, plan.schema(compartment), tables(), facts)
    return file_facts(path, started, found)


def _as_result(plan: Plan, compartment: str, arrays: "list[pa.Array]") -> "pa.Table":
    import pyarrow as pa

    schema = plan.schema(compartment)
    if plan.options.table_number is not None:
        rows = len(arrays[0])
        arrays = [pa.repeat(pa.scalar(plan.options.table_number, pa.int64()), rows), *arrays]
    return pa.table([_cast(array, field) for array, field in zip(arrays, schema, strict=True)], schema=schema)


def _cast(array: "pa.Array", field: "pa.Field") -> "pa.Array":
    """The array in the type that `data_type_cast_map` asks for.

    Raises:
        SchemaError: a value does not fit it.
    """
    import pyarrow as pa

    if array.type == field.type:
        return array
    try:
        return array.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f"data_type_cast_map: column {field.name} cannot become {field.type} ({error}); give it a wider type"
        ) from error
