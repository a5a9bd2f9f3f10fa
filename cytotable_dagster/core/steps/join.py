"""Single cells: the compartments of a chunk side by side, a row for each row of the base, as the plan matched them."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import SchemaError, TargetError
from cytotable_dagster.core.model.names import DEFAULT_NAMES, PLATE, SITE, WELL, joined_order, partner_name, selects
from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.model.types import FileFacts
from cytotable_dagster.core.planning.options import KEEP
from cytotable_dagster.core.planning.plan import Plan, load_plan
from cytotable_dagster.core.steps.chunk_files import chunk_path, read_batches, write_chunk
from cytotable_dagster.core.support.arrays import from_numpy
from cytotable_dagster.core.support.files import memory_mapping

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from cytotable_dagster.core.steps.chunk_files import Batch

# Objects from which on it pays to read compartments at once.
_WORTH_THREADS = 1000


@dataclass(frozen=True)
class JoinedColumn:
    """A column of the joined table: its name, and the compartment and column it comes from."""

    name: str
    compartment: str
    column: str


def base_compartment(plan: Plan) -> str:
    """The compartment that the joined table has one row for.

    Raises:
        TargetError: the plate has no table of objects.
    """
    if plan.base is None:
        raise TargetError(f"{plan.source.uri}: no table of objects to make single cells of")
    return plan.base


def joined_columns(plan: Plan) -> tuple[JoinedColumn, ...]:
    """The columns of the joined table, in order.

    Raises:
        TargetError: the plate has no table of objects.
        SchemaError: two tables give it columns of one name.
    """
    base = base_compartment(plan)
    found = {name: JoinedColumn(name, base, name) for name in plan.schema(base).names}
    image_keys = plan.preset.keys_of(IMAGE)
    for compartment in plan.partners:
        told = plan.part(compartment).told
        for column in plan.part(compartment).columns:
            # A partner's image is the base's, and so are its numbers and what its folder tells; what stands beside a
            # column is for one that has it alone.
            if column.source not in image_keys and column.source not in told and not column.beside:
                name = partner_name(column.name, compartment, found)
                if name in found:
                    raise SchemaError(
                        f"{plan.source.uri}: {found[name].compartment} and {compartment} both have a column {name}; "
                        "tell them apart with identifying_columns=, or leave one out with targets="
                    )
                found[name] = JoinedColumn(name, compartment, column.name)
    images = _image_columns(plan)
    clashing = _clashing({*found, *images}) if plan.options.names == DEFAULT_NAMES else set()
    for own in images:
        name = f"Metadata_{own}" if own in clashing else own
        if name not in found:
            found[name] = JoinedColumn(name, IMAGE, own)
    # Names without a compartment's say nothing of where they belong; the source's order does.
    return tuple(found[name] for name in (joined_order(found) if plan.preset.prefix else found))


def _image_columns(plan: Plan) -> list[str]:
    """The columns that the image table gives to the joined table."""
    if IMAGE not in plan.compartments:
        return []
    beside = {column.name for column in plan.part(IMAGE).columns if column.beside}
    return [
        name
        for name in plan.schema(IMAGE).names
        if name in beside or plan.options.image_features or selects(plan.preset.image_columns, name)
    ]


def _clashing(names: set[str]) -> set[str]:
    """Columns that pycytominer's `annotate` would give the name of another: it takes `Image_` off plate, well, site."""
    return {f"{IMAGE}_{name}" for name in (PLATE, WELL, SITE) if name in names}


def joined_schema(plan: Plan, columns: Sequence[JoinedColumn]) -> "pa.Schema":
    import pyarrow as pa

    schemas = {compartment: plan.schema(compartment) for compartment in plan.compartments}
    return pa.schema([(c.name, schemas[c.compartment].field(c.column).type) for c in columns])


def join_chunks(
    plan_folder: Path, wanted: Sequence[int], folder: Path, in_memory: bool = False
) -> tuple[FileFacts, ...]:
    """Join chunks straight from the source, each partner's rows read in the base's order; a file each in `folder`, or
    what would be in it."""
    plan = load_plan(plan_folder)
    columns = joined_columns(plan)
    streams = {
        compartment: read_batches(plan, compartment, _joined_rows(plan, compartment, wanted), names)
        for compartment, names in _names_by_compartment(plan, columns).items()
    }
    return tuple(_join_chunk(plan, columns, chunk, streams, chunk_path(folder, chunk), in_memory) for chunk in wanted)


def join_chunk_files(plan_folder: Path, chunk: int, files: Mapping[str, Path], path: Path) -> FileFacts:
    """Join one chunk from its compartments' chunk files, by compartment."""
    plan = load_plan(plan_folder)
    columns = joined_columns(plan)
    streams = {
        compartment: _file_batches(plan, compartment, chunk, files[compartment], names)
        for compartment, names in _names_by_compartment(plan, columns).items()
    }
    return _join_chunk(plan, columns, chunk, streams, path)


def joined_compartments(plan: Plan) -> tuple[str, ...]:
    """The compartments that the joined table is made of."""
    image = (IMAGE,) if IMAGE in plan.compartments else ()
    return (base_compartment(plan), *plan.partners, *image)


def _names_by_compartment(plan: Plan, joined: Sequence[JoinedColumn]) -> dict[str, list[str]]:
    """The columns that each compartment gives to the joined table, as the compartment calls them."""
    names: dict[str, list[str]] = {compartment: [] for compartment in joined_compartments(plan)}
    for column in joined:
        names[column.compartment].append(column.column)
    return {compartment: columns for compartment, columns in names.items() if columns}


def _joined_rows(plan: Plan, compartment: str, wanted: Sequence[int]) -> "list[np.ndarray]":
    """For each batch the row numbers of the compartment that belong to the base's rows, -1 where none does."""
    import numpy as np

    batches: list[np.ndarray] = []
    for chunk in wanted:
        rows = plan.rows(compartment, chunk)
        if compartment != plan.base:
            matches = plan.matches(compartment, chunk)
            # The row number at the end is what a position of -1 finds.
            rows = [np.append(own, -1)[match] for own, match in zip(rows, matches, strict=True)]
        kept = _kept(plan, chunk)
        batches.extend(rows if kept is None else [own[mask] for own, mask in zip(rows, kept, strict=True)])
    return batches


def _kept(plan: Plan, chunk: int) -> "list[np.ndarray] | None":
    """For each batch which of the base's rows are rows of the joined table; None where all are."""
    import numpy as np

    if plan.options.unmatched == KEEP or not plan.partners:
        return None
    found = zip(*(plan.matches(partner, chunk) for partner in plan.partners), strict=True)
    return [np.logical_and.reduce([positions >= 0 for positions in batch]) for batch in found]


def left_out(plan: Plan) -> int:
    """How many of the base's rows are not in the joined table, for lacking an object that belongs to them."""
    import numpy as np

    if plan.options.unmatched == KEEP or not plan.partners:
        return 0
    lacking = np.logical_or.reduce([plan.partners_of_base(partner) < 0 for partner in plan.partners])
    return int(np.count_nonzero(lacking))


def _file_batches(plan: Plan, compartment: str, chunk: int, path: Path, names: list[str]) -> "Iterator[Batch]":
    """A chunk file's row groups, in the base's order; where a batch has no rows there is no row group."""
    import numpy as np
    import pyarrow.parquet as pq

    matches = plan.matches(compartment, chunk) if compartment != plan.base else None
    kept = _kept(plan, chunk)
    with pq.ParquetFile(path, memory_map=memory_mapping()) as file:
        group = 0
        for batch, rows in enumerate(plan.rows(compartment, chunk)):
            if len(rows):
                table = file.read_row_group(group, columns=names).select(names)
                group += 1
            else:
                table = plan.schema(compartment).empty_table().select(names)
            if matches is not None:
                positions = matches[batch] if kept is None else matches[batch][kept[batch]]
                table = table.take(from_numpy(positions, positions >= 0))
            elif kept is not None:
                table = table.take(from_numpy(np.flatnonzero(kept[batch])))
            yield table.replace_schema_metadata(None), ()


def _join_chunk(
    plan: Plan,
    columns: Sequence[JoinedColumn],
    chunk: int,
    streams: "Mapping[str, Iterator[Batch]]",
    path: Path,
    in_memory: bool = False,
) -> FileFacts:
    schema = joined_schema(plan, columns)
    facts = {**plan.facts(), "compartment": "single_cells", "chunk": str(chunk)}
    # Where chunks do not keep all cores busy, a chunk's compartments are read at once.
    at_once = plan.chunk_count < (os.cpu_count() or 1) and plan.part(base_compartment(plan)).rows >= _WORTH_THREADS
    with ThreadPoolExecutor(len(streams)) as pool:
        each = pool.map if at_once else map
        batches = (_side_by_side(plan, columns, schema, streams, each) for _ in range(len(plan.batches[chunk]) - 1))
        return write_chunk(path, schema, batches, facts, in_memory)


def _side_by_side(
    plan: Plan,
    columns: Sequence[JoinedColumn],
    schema: "pa.Schema",
    streams: "Mapping[str, Iterator[Batch]]",
    each: "Callable[..., Iterator[Batch]]",
) -> "Batch":
    """The next batch of the joined table, of tables whose rows already belong together."""
    import pyarrow as pa

    batches = dict(zip(streams, each(next, streams.values()), strict=True))
    arrays = [batches[column.compartment][0][column.column] for column in columns]
    table = pa.table(arrays, schema=schema)
    found = [(compartment, coercion) for compartment, (_, own) in batches.items() for coercion in own]
    names = {(joined.compartment, joined.column): joined.name for joined in columns} if found else {}
    coercions = tuple(replace(coercion, column=names[compartment, coercion.column]) for compartment, coercion in found)
    return table.drop_null() if plan.options.drop_null else table, coercions
