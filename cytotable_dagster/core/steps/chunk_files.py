"""Compartments: chunks of a source table to chunk files, chunk files to one file."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import SchemaError
from cytotable_dagster.core.model.coercions import as_facts, in_facts, merged
from cytotable_dagster.core.model.types import Coercion, FileFacts
from cytotable_dagster.core.parquet.writing import encoded_batches, facts_in, write_batches
from cytotable_dagster.core.planning.plan import Plan, load_plan
from cytotable_dagster.core.sources.state import check_unchanged
from cytotable_dagster.core.support.arrays import repeated
from cytotable_dagster.core.support.files import size_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    # A batch's table, and what was coerced in it.
    Batch = tuple[pa.Table, tuple[Coercion, ...]]


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
        in_memory: give what would be in the files instead of writing them.
        checked: make sure that the source is unchanged before a file appears.

    Raises:
        DamagedSourceError, SourceChangedError: the source cannot be read to the end.
    """
    plan = load_plan(plan_folder)
    rows = [plan.rows(compartment, chunk) for chunk in wanted]
    batches = read_batches(plan, compartment, list(itertools.chain(*rows)))
    return tuple(
        write_chunk(
            chunk_path(folder, chunk),
            plan.schema(compartment),
            itertools.islice(batches, len(own)),
            {**plan.facts(), "compartment": compartment, "chunk": str(chunk)},
            in_memory,
            (lambda: check_unchanged(plan.source)) if checked else None,
        )
        for chunk, own in zip(wanted, rows, strict=True)
    )


def read_batches(
    plan: Plan, compartment: str, rows: "Sequence[np.ndarray]", names: Sequence[str] | None = None
) -> "Iterator[Batch]":
    """Tables of the rows with these row numbers, in the result's names and types; one pass over the source.

    Args:
        rows: a batch each; a row number of -1 is a row of nulls.
        names: the result's columns wanted; None is all.
    """
    import pyarrow as pa

    schema, added = plan.schema(compartment), plan.added_to(compartment)
    if names is not None:
        schema = pa.schema([schema.field(name) for name in names])
    columns = {column.name: column for column in plan.part(compartment).columns}
    own = [columns[name] for name in schema.names if name in columns]
    # A source column that stands in the result under two names is read once, and known by its own.
    read = {column.source: column for column in sorted(own, key=lambda column: not column.beside)}
    types = [pa.type_for_alias(column.read_type) for column in read.values()]
    table, names_of = plan.part(compartment).table.name, {source: column.name for source, column in read.items()}
    for batch, (arrays, coercions) in zip(rows, plan.open(compartment).batches(rows, list(read), types), strict=True):
        values = dict(zip(read, arrays, strict=True))
        found = {column.name: values[column.source] for column in own}
        found |= {
            name: repeated(value, schema.field(name).type, len(batch))
            for name, value in added.items()
            if name in schema.names
        }
        lost = [replace(coercion, column=names_of[coercion.column], source=coercion.column) for coercion in coercions]
        cast = [_cast(found[field.name], field) for field in schema]
        lost += [
            Coercion(field.name, *overflown, source=columns[field.name].source)
            for field, (_, overflown) in zip(schema, cast, strict=True)
            if overflown
        ]
        yield (
            pa.table([array for array, _ in cast], schema=schema),
            merged([replace(coercion, table=table) for coercion in lost]),
        )


def write_chunk(
    path: Path,
    schema: "pa.Schema",
    batches: "Iterable[Batch]",
    facts: Mapping[str, str],
    in_memory: bool = False,
    check: Callable[[], None] | None = None,
) -> FileFacts:
    """Write batches as the row groups of one file, or give what would be in it; a file appears if `check` raises
    nothing."""
    started = time.perf_counter()
    found: list[Coercion] = []

    def tables() -> "Iterator[pa.Table]":
        for table, coercions in batches:
            found.extend(coercions)
            yield table

    def last() -> dict[str, str]:
        if check is not None:
            check()
        return as_facts(merged(found))

    if in_memory:
        rows, content = encoded_batches(schema, list(tables()), {**facts, **as_facts(merged(found))})
        size = content.size
    else:
        rows, content = write_batches(path, schema, tables(), facts, last), None
        size = size_of(path)
    return FileFacts(path, rows, len(schema), size, time.perf_counter() - started, merged(found), content)


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


def _cast(array: "pa.Array", field: "pa.Field") -> "tuple[pa.Array, tuple[int, str] | None]":
    """The array in the type that `data_type_cast_map` asks for; how many numbers became null for being larger than the
    largest of it, and the first of them.

    Raises:
        SchemaError: a whole number, or a value of another kind, does not fit it.
    """
    import pyarrow as pa

    if array.type == field.type:
        return array, None
    try:
        return _finite(array, array.cast(field.type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f"data_type_cast_map: column {field.name} cannot become {field.type} ({error}); give it a wider type"
        ) from error


def _finite(wide: "pa.Array", narrow: "pa.Array") -> "tuple[pa.Array, tuple[int, str] | None]":
    """Numbers that were cast, with null for what Arrow made infinite without a word."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_floating(wide.type) and pa.types.is_floating(narrow.type)):
        return narrow, None
    infinite = pc.is_inf(narrow.cast(pa.float64()) if pa.types.is_float16(narrow.type) else narrow)
    if not pc.any(infinite).as_py():
        return narrow, None
    lost = pc.and_(infinite, pc.is_finite(wide))
    first = pc.index(lost, True).as_py()
    if first < 0:
        return narrow, None
    return pc.if_else(lost, pa.nulls(1, narrow.type)[0], narrow), (pc.sum(lost).as_py(), str(wide[first]))
