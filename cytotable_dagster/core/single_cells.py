"""Single cells: the compartments of a chunk matched by their keys in memory, one row for each row of the base."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.columns import joined_order, partner_name, selects
from cytotable_dagster.core.compartments import chunk_path, file_facts, read_batches
from cytotable_dagster.core.errors import TargetError
from cytotable_dagster.core.files import memory_mapping
from cytotable_dagster.core.parquet import parquet_writer
from cytotable_dagster.core.plan import Plan, load_plan
from cytotable_dagster.core.presets import IMAGE
from cytotable_dagster.core.types import FileFacts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True)
class JoinedColumn:
    """A column of the joined table: its name, and the compartment and column it comes from."""

    name: str
    compartment: str
    column: str


def base_compartment(plan: Plan) -> str:
    """The compartment that the joined table has one row for.

    Raises:
        TargetError: the plate has none of the preset's.
    """
    for compartment in (*plan.preset.base_order, *plan.preset.compartments):
        if compartment in plan.compartments:
            return compartment
    raise TargetError(f"{plan.source.uri}: no table of objects to make single cells of")


def partners(plan: Plan) -> tuple[tuple[str, str], ...]:
    """(compartment, column of the base that holds its object number) for each compartment joined to the base."""
    base = base_compartment(plan)
    columns = {column.source for column in plan.part(base).columns}
    return tuple(
        (compartment, parent)
        for compartment, parent in plan.preset.parents
        if compartment in plan.compartments and compartment != base and parent in columns
    )


def joined_columns(plan: Plan) -> tuple[JoinedColumn, ...]:
    """The columns of the joined table, in order."""
    base = base_compartment(plan)
    found = {name: JoinedColumn(name, base, name) for name in plan.schema(base).names}
    for compartment, _ in partners(plan):
        for column in plan.part(compartment).columns:
            # A partner's image is the base's, and so are the numbers of it.
            if column.source not in plan.preset.keys_of(IMAGE):
                name = partner_name(column.name, compartment, found)
                found[name] = JoinedColumn(name, compartment, column.name)
    if IMAGE in plan.compartments:
        for column in plan.schema(IMAGE).names:
            wanted = plan.options.image_features or selects(plan.preset.image_columns, column)
            if wanted and column not in found:
                found[column] = JoinedColumn(column, IMAGE, column)
    return tuple(found[name] for name in joined_order(found))


def joined_schema(plan: Plan) -> "pa.Schema":
    import pyarrow as pa

    schemas = {compartment: plan.schema(compartment) for compartment in plan.compartments}
    return pa.schema([(c.name, schemas[c.compartment].field(c.column).type) for c in joined_columns(plan)])


def join_chunks(plan_folder: Path, wanted: Sequence[int], folder: Path) -> tuple[FileFacts, ...]:
    """Join chunks straight from the source; a file each in `folder`."""
    plan = load_plan(plan_folder)
    streams = {
        compartment: (table for table, _ in read_batches(plan, compartment, wanted))
        for compartment in joined_compartments(plan)
    }
    return tuple(_join_chunk(plan, chunk, streams, chunk_path(folder, chunk)) for chunk in wanted)


def join_chunk_files(plan_folder: Path, chunk: int, files: Mapping[str, Path], path: Path) -> FileFacts:
    """Join one chunk from its compartments' chunk files, by compartment."""
    plan = load_plan(plan_folder)
    streams = {
        compartment: _file_batches(plan, compartment, chunk, files[compartment])
        for compartment in joined_compartments(plan)
    }
    return _join_chunk(plan, chunk, streams, path)


def joined_compartments(plan: Plan) -> tuple[str, ...]:
    """The compartments that the joined table is made of."""
    image = (IMAGE,) if IMAGE in plan.compartments else ()
    return (base_compartment(plan), *(compartment for compartment, _ in partners(plan)), *image)


def _file_batches(plan: Plan, compartment: str, chunk: int, path: Path) -> "Iterator[pa.Table]":
    """A chunk file's row groups as batches; where a batch has no rows there is no row group."""
    import pyarrow.parquet as pq

    schema = plan.schema(compartment)
    with pq.ParquetFile(path, memory_map=memory_mapping()) as file:
        group = 0
        for rows in plan.rows(compartment, chunk):
            if len(rows):
                yield file.read_row_group(group).replace_schema_metadata(None)
                group += 1
            else:
                yield schema.empty_table()


def _join_chunk(plan: Plan, chunk: int, streams: "Mapping[str, Iterator[pa.Table]]", path: Path) -> FileFacts:
    started = time.perf_counter()
    columns = joined_columns(plan)
    schema = joined_schema(plan)
    facts = {**plan.facts(), "compartment": "single_cells", "chunk": str(chunk)}
    counts = {compartment: plan.counts(compartment, chunk) for compartment in streams}
    with parquet_writer(path, schema, facts) as writer:
        for batch in range(len(plan.batches[chunk]) - 1):
            tables = {compartment: next(stream) for compartment, stream in streams.items()}
            images = {compartment: number[batch] for compartment, number in counts.items()}
            table = _join_batch(plan, columns, schema, tables, images)
            if plan.options.drop_null:
                table = table.drop_null()
            if table.num_rows:
                writer.write_table(table, row_group_size=table.num_rows)
    return file_facts(path, started)


def _join_batch(
    plan: Plan,
    columns: Sequence[JoinedColumn],
    schema: "pa.Schema",
    tables: "Mapping[str, pa.Table]",
    counts: "Mapping[str, np.ndarray]",
) -> "pa.Table":
    """Join one batch; `counts` are the rows of each image, by compartment, in the order of the tables' rows."""
    import numpy as np
    import pyarrow as pa

    base = base_compartment(plan)
    images = np.repeat(np.arange(len(counts[base])), counts[base])
    matches: dict[str, pa.Array | None] = {base: None}
    for compartment, parent in partners(plan):
        wanted = tables[base][plan.part(base).result_name(parent)]
        objects = tables[compartment][plan.part(compartment).result_name(plan.preset.keys_of(compartment)[-1])]
        own = np.repeat(np.arange(len(counts[compartment])), counts[compartment])
        matches[compartment] = _match(images, wanted, own, objects)
    if IMAGE in tables:
        starts = np.cumsum(counts[IMAGE]) - counts[IMAGE]
        matches[IMAGE] = pa.array(starts[images], mask=counts[IMAGE][images] == 0)
    arrays = []
    for column in columns:
        values = tables[column.compartment][column.column]
        match = matches[column.compartment]
        arrays.append(values if match is None else values.take(match))
    return pa.table(arrays, schema=schema)


def _match(
    images: "np.ndarray", wanted: "pa.ChunkedArray", own_images: "np.ndarray", objects: "pa.ChunkedArray"
) -> "pa.Array":
    """For each base row the row of the partner with its image and wanted object number, null where there is none.

    The partner's rows are in the order of (image, object number), so that a binary search finds them.
    """
    import numpy as np
    import pyarrow as pa

    missing = wanted.is_null().to_numpy()
    numbers = wanted.fill_null(0).to_numpy()
    partner = np.rec.fromarrays([own_images, objects.to_numpy()])
    base = np.rec.fromarrays([images, numbers])
    if not len(partner):
        return pa.nulls(len(base), pa.int64())
    at = np.minimum(np.searchsorted(partner, base), len(partner) - 1)
    return pa.array(at, mask=missing | (partner[at] != base))
