"""Single cells: the compartments of a chunk side by side, a row for each row of the base, as the plan matched them."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.environment import memory_mapping
from cytotable_dagster.core.model.types import SINGLE_CELLS, Coercion, FileFacts
from cytotable_dagster.core.planning.plan import Plan, load_plan
from cytotable_dagster.core.steps.batches import read_batches
from cytotable_dagster.core.steps.chunk_files import ChunkFile, chunk_file, chunk_path, write_chunks
from cytotable_dagster.core.steps.joined import (
    JoinedColumn,
    base_compartment,
    joined_columns,
    joined_compartments,
    joined_schema,
    kept_rows,
)
from cytotable_dagster.core.support.arrays import from_numpy
from cytotable_dagster.core.support.cores import cores

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from cytotable_dagster.core.steps.batches import Batch

# Objects from which on it pays to read compartments at once.
_WORTH_THREADS = 1000


def convert_chunk(
    plan_folder: Path, chunk: int, folders: Mapping[str, Path], in_memory: bool = False, checked: bool = False
) -> tuple[FileFacts, ...]:
    """Join a chunk straight from the source, and convert it for compartments that are wanted too, by one reading: their
    files are to the byte those of `write_chunks`. No more than a batch of each table is in memory.

    Args:
        folders: for `single_cells`, and for each compartment wanted, where its chunk's file goes.
        in_memory: give what would be in the files instead of writing them, of a chunk of one batch.
        checked: make sure that the source is unchanged before a file appears.

    Returns:
        A file each, in the order of `folders`.

    Raises:
        DamagedSourceError, SourceChangedError: the source cannot be read to the end.
    """
    plan = load_plan(plan_folder)
    columns = joined_columns(plan)
    names = _names_by_compartment(plan, columns)
    made: dict[str, FileFacts] = {}
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(
                chunk_file(plan, name, plan.schema(name), chunk, chunk_path(folder, chunk), in_memory, checked)
            )
            for name, folder in folders.items()
            if name in names
        }
        streams = {
            name: _written_batches(plan, name, chunk, own, files[name])
            if name in files
            else read_batches(plan, name, _joined_rows(plan, name, chunk), own)
            for name, own in names.items()
        }
        schema = joined_schema(plan)
        path = chunk_path(folders[SINGLE_CELLS], chunk)
        joined = stack.enter_context(chunk_file(plan, SINGLE_CELLS, schema, chunk, path, in_memory, checked))
        made[SINGLE_CELLS] = _join_chunk(plan, columns, chunk, streams, joined)
        made |= {name: own.finish() for name, own in files.items()}
    for name in folders.keys() - made.keys():
        (made[name],) = write_chunks(plan_folder, name, (chunk,), folders[name], in_memory, checked)
    return tuple(made[name] for name in folders)


def join_chunk_files(plan_folder: Path, chunk: int, files: Mapping[str, Path], path: Path) -> tuple[FileFacts, ...]:
    """Join one chunk from its compartments' chunk files, by compartment; one file."""
    plan = load_plan(plan_folder)
    columns = joined_columns(plan)
    streams = {
        compartment: _file_batches(plan, compartment, chunk, files[compartment], names)
        for compartment, names in _names_by_compartment(plan, columns).items()
    }
    with chunk_file(plan, SINGLE_CELLS, joined_schema(plan), chunk, path) as file:
        return (_join_chunk(plan, columns, chunk, streams, file),)


def _names_by_compartment(plan: Plan, joined: Sequence[JoinedColumn]) -> dict[str, list[str]]:
    """The columns that each compartment gives to the joined table, as the compartment calls them."""
    names: dict[str, list[str]] = {compartment: [] for compartment in joined_compartments(plan)}
    for column in joined:
        names[column.compartment].append(column.column)
    return {compartment: columns for compartment, columns in names.items() if columns}


def _joined_rows(plan: Plan, compartment: str, chunk: int) -> "list[np.ndarray]":
    """For each batch the row numbers of the compartment that belong to the joined table's rows, -1 where none does."""
    import numpy as np

    # The row number at the end is what a position of -1 finds.
    return [
        rows if positions is None else np.append(rows, -1)[positions]
        for rows, positions in zip(plan.rows(compartment, chunk), _positions(plan, compartment, chunk), strict=True)
    ]


def _written_batches(
    plan: Plan, compartment: str, chunk: int, names: Sequence[str], file: ChunkFile
) -> "Iterator[Batch]":
    """A chunk's batches, each added to its file, as the joined table has them: in the base's order, these columns."""
    positions, joined = _positions(plan, compartment, chunk), _joined_rows(plan, compartment, chunk)
    with closing(read_batches(plan, compartment, plan.rows(compartment, chunk))) as batches:
        for number, (own, rows) in enumerate(zip(positions, joined, strict=True), start=1):
            table, coercions = next(batches)
            file.add((table, coercions))
            if coercions:
                coercions = _coercions_of(plan, compartment, rows, names, {lost.source for lost in coercions})
            table = _taken(table.select(names), own)
            if number == len(joined):
                # What was decoded is held there.
                batches.close()
            yield table, coercions


def _coercions_of(
    plan: Plan, compartment: str, rows: "np.ndarray", names: Sequence[str], sources: Collection[str]
) -> "tuple[Coercion, ...]":
    """What is coerced in the columns from these of the source, as the joined table has them: some rows are not in it,
    others are several times."""
    columns = {column.name: column.source for column in plan.part(compartment).columns}
    lost = [name for name in names if columns.get(name) in sources]
    return next(read_batches(plan, compartment, [rows], lost))[1] if lost else ()


def _file_batches(plan: Plan, compartment: str, chunk: int, path: Path, names: list[str]) -> "Iterator[Batch]":
    """A chunk file's row groups, in the base's order; where a batch has no rows there is no row group."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=memory_mapping()) as file:
        group = 0
        for rows, positions in zip(plan.rows(compartment, chunk), _positions(plan, compartment, chunk), strict=True):
            if len(rows):
                table = file.read_row_group(group, columns=names).select(names)
                group += 1
            else:
                table = plan.schema(compartment).empty_table().select(names)
            yield _taken(table, positions).replace_schema_metadata(None), ()


def _positions(plan: Plan, compartment: str, chunk: int) -> "list[np.ndarray | None]":
    """For each batch the positions among the compartment's rows of those that belong to the joined table's, -1 where
    none does; None where they are the rows as they are."""
    import numpy as np

    kept = kept_rows(plan, chunk)
    if compartment != plan.base:
        matches = plan.matches(compartment, chunk)
        found = matches if kept is None else [own[mask] for own, mask in zip(matches, kept, strict=True)]
    elif kept is not None:
        found = [np.flatnonzero(mask) for mask in kept]
    else:
        return [None] * (len(plan.batches[chunk]) - 1)
    lengths = map(len, plan.rows(compartment, chunk))
    return [
        None if len(own) == length and (own == np.arange(length)).all() else own
        for own, length in zip(found, lengths, strict=True)
    ]


def _taken(table: "pa.Table", positions: "np.ndarray | None") -> "pa.Table":
    return table if positions is None else table.take(from_numpy(positions, positions >= 0))


def _join_chunk(
    plan: Plan,
    columns: Sequence[JoinedColumn],
    chunk: int,
    streams: "Mapping[str, Iterator[Batch]]",
    file: ChunkFile,
) -> FileFacts:
    """Fill the file of a joined chunk."""
    schema = joined_schema(plan)
    # Where chunks do not keep all cores busy, a chunk's compartments are read at once.
    at_once = plan.chunk_count < cores() and plan.part(base_compartment(plan)).rows >= _WORTH_THREADS
    with ThreadPoolExecutor(len(streams)) as pool:
        each = pool.map if at_once else map
        for _ in range(len(plan.batches[chunk]) - 1):
            file.add(_side_by_side(plan, columns, schema, streams, each))
    return file.finish()


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
    # Each gives its columns in the order of the joined table.
    arrays = {compartment: iter(table.columns) for compartment, (table, _) in batches.items()}
    table = pa.table([next(arrays[column.compartment]) for column in columns], schema=schema)
    found = [(compartment, coercion) for compartment, (_, own) in batches.items() for coercion in own]
    names = {(joined.compartment, joined.column): joined.name for joined in columns} if found else {}
    coercions = tuple(replace(coercion, column=names[compartment, coercion.column]) for compartment, coercion in found)
    return table.drop_null() if plan.options.drop_null else table, coercions
