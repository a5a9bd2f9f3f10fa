"""Single cells: the compartments of a chunk side by side, a row for each row of the base, as the plan matched them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.environment import memory_mapping
from cytotable_dagster.core.model.types import SINGLE_CELLS, Coercion, FileFacts
from cytotable_dagster.core.planning.plan import Plan, load_plan
from cytotable_dagster.core.steps.batches import read_batches
from cytotable_dagster.core.steps.chunk_files import ChunkFile, chunk_file, chunk_path, write_chunks
from cytotable_dagster.core.steps.joined import (
    base_compartment,
    joined_columns,
    joined_schema,
)
from cytotable_dagster.core.steps.sides import (
    coercions_of,
    joined_rows,
    names_by_compartment,
    positions_of,
    read_sides,
    sides_of,
    write_sides,
)
from cytotable_dagster.core.support.arrays import from_numpy
from cytotable_dagster.core.support.cores import cores

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from cytotable_dagster.core.steps.batches import Batch
    from cytotable_dagster.core.steps.sides import Side

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
    names = names_by_compartment(plan)
    made: dict[str, FileFacts] = {}
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(
                chunk_file(plan, name, plan.schema(name), chunk, chunk_path(folder, chunk), in_memory, checked)
            )
            for name, folder in folders.items()
            if name in names
        }
        schema = joined_schema(plan)
        path = chunk_path(folders[SINGLE_CELLS], chunk)
        joined = stack.enter_context(chunk_file(plan, SINGLE_CELLS, schema, chunk, path, in_memory, checked))
        if joined.schema.equals(schema) and not plan.options.drop_null:
            sides = {
                name: write_sides(plan, name, chunk, files[name]) if name in files else read_sides(plan, name, chunk)
                for name in names
            }
            made[SINGLE_CELLS] = _join_sides(plan, chunk, sides, joined)
        else:
            # Rows go, or are of other types, once they are side by side.
            tables = {
                name: _written_batches(plan, name, chunk, own, files[name])
                if name in files
                else read_batches(plan, name, joined_rows(plan, name, chunk), own)
                for name, own in names.items()
            }
            made[SINGLE_CELLS] = _join_tables(plan, chunk, tables, joined)
        made |= {name: own.finish() for name, own in files.items()}
    for name in folders.keys() - made.keys():
        (made[name],) = write_chunks(plan_folder, name, (chunk,), folders[name], in_memory, checked)
    return tuple(made[name] for name in folders)


def join_chunk_files(plan_folder: Path, chunk: int, files: Mapping[str, Path], path: Path) -> tuple[FileFacts, ...]:
    """Join one chunk from its compartments' chunk files, by compartment; one file."""
    plan = load_plan(plan_folder)
    streams = {
        compartment: _file_batches(plan, compartment, chunk, files[compartment], names)
        for compartment, names in names_by_compartment(plan).items()
    }
    with chunk_file(plan, SINGLE_CELLS, joined_schema(plan), chunk, path) as file:
        return (_join_tables(plan, chunk, streams, file),)


def _written_batches(
    plan: Plan, compartment: str, chunk: int, names: Sequence[str], file: ChunkFile
) -> "Iterator[Batch]":
    """A chunk's batches, each added to its file, as the joined table has them: in the base's order, these columns."""
    positions, joined = positions_of(plan, compartment, chunk), joined_rows(plan, compartment, chunk)
    with closing(read_batches(plan, compartment, plan.rows(compartment, chunk))) as batches:
        for number, (own, rows) in enumerate(zip(positions, joined, strict=True), start=1):
            table, coercions = next(batches)
            file.add((table, coercions))
            if coercions:
                coercions = coercions_of(plan, compartment, rows, names, {lost.source for lost in coercions})
            table = _taken(table.select(names), own)
            if number == len(joined):
                # What was decoded is held there.
                batches.close()
            yield table, coercions


def _file_batches(plan: Plan, compartment: str, chunk: int, path: Path, names: list[str]) -> "Iterator[Batch]":
    """A chunk file's row groups, in the base's order; where a batch has no rows there is no row group."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=memory_mapping()) as file:
        group = 0
        for rows, positions in zip(plan.rows(compartment, chunk), positions_of(plan, compartment, chunk), strict=True):
            if len(rows):
                table = file.read_row_group(group, columns=names).select(names)
                group += 1
            else:
                table = plan.schema(compartment).empty_table().select(names)
            yield _taken(table, positions).replace_schema_metadata(None), ()


def _taken(table: "pa.Table", positions: "np.ndarray | None") -> "pa.Table":
    return table if positions is None else table.take(from_numpy(positions, positions >= 0))


def _join_sides(plan: Plan, chunk: int, streams: "Mapping[str, Iterator[Side]]", file: ChunkFile) -> FileFacts:
    """Fill the file of a joined chunk with what is encoded."""
    of = sides_of(plan)
    with _reading(plan, streams) as each:
        for _ in range(len(plan.batches[chunk]) - 1):
            sides = dict(zip(streams, each(next, streams.values()), strict=True))
            coercions = _renamed(plan, {compartment: own for compartment, (_, own) in sides.items()})
            file.add_encoded([columns for columns, _ in sides.values()], of, coercions)
            del sides
    return file.finish()


def _join_tables(plan: Plan, chunk: int, streams: "Mapping[str, Iterator[Batch]]", file: ChunkFile) -> FileFacts:
    """Fill the file of a joined chunk with tables."""
    with _reading(plan, streams) as each:
        for _ in range(len(plan.batches[chunk]) - 1):
            file.add(_side_by_side(plan, streams, each))
    return file.finish()


@contextmanager
def _reading(plan: Plan, streams: Mapping[str, Any]) -> "Iterator[Callable[..., Iterator[Any]]]":
    """What maps: where chunks do not keep all cores busy, a chunk's compartments are read at once."""
    at_once = plan.chunk_count < cores() and plan.part(base_compartment(plan)).rows >= _WORTH_THREADS
    with ThreadPoolExecutor(len(streams)) as pool:
        yield pool.map if at_once else map


def _side_by_side(
    plan: Plan, streams: "Mapping[str, Iterator[Batch]]", each: "Callable[..., Iterator[Batch]]"
) -> "Batch":
    """The next batch of the joined table, of tables whose rows already belong together."""
    import pyarrow as pa

    batches = dict(zip(streams, each(next, streams.values()), strict=True))
    # Each gives its columns in the order of the joined table.
    arrays = {compartment: iter(table.columns) for compartment, (table, _) in batches.items()}
    columns = [next(arrays[column.compartment]) for column in joined_columns(plan)]
    table = pa.table(columns, schema=joined_schema(plan))
    coercions = _renamed(plan, {compartment: own for compartment, (_, own) in batches.items()})
    return table.drop_null() if plan.options.drop_null else table, coercions


def _renamed(plan: Plan, coercions: Mapping[str, Sequence[Coercion]]) -> tuple[Coercion, ...]:
    """What was coerced in compartments, by the names of the joined table."""
    found = [(compartment, coercion) for compartment, own in coercions.items() for coercion in own]
    columns = joined_columns(plan) if found else ()
    names = {(joined.compartment, joined.column): joined.name for joined in columns}
    return tuple(replace(coercion, column=names[compartment, coercion.column]) for compartment, coercion in found)
