"""Looking through a plate's tables: keys, types and names of their columns."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.column_types import ResultColumn, result_columns, text_candidates
from cytotable_dagster.core.model.names import DEFAULT_NAMES
from cytotable_dagster.core.model.presets import IMAGE, Preset
from cytotable_dagster.core.model.types import Source, SourceTable
from cytotable_dagster.core.model.values import typed_array
from cytotable_dagster.core.planning import chunks
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.planning.plan import ADDED_PLATE, ADDED_TABLE_NUMBER, OWN_TABLE_NUMBER, TablePlan
from cytotable_dagster.core.planning.text_kinds import text_kinds
from cytotable_dagster.core.sources.protocols import TableReader

if TYPE_CHECKING:
    import pyarrow as pa


def look_through(
    reader: TableReader,
    table: SourceTable,
    preset: Preset,
    options: Options,
    parents: tuple[str, ...],
) -> tuple[TablePlan, chunks.TableKeys]:
    """The part of the plan of a table of images or objects, and its keys with the numbers of `parents`."""
    keys = preset.keys_of(table.compartment)
    others = tuple(column for column in parents if column not in keys)
    rows, values = reader.read_keys(others)
    named = dict(zip((*keys, *others), values, strict=True))
    profile = reader.profile()
    kinds = text_kinds(reader, text_candidates(table, preset, profile), rows)
    part = TablePlan(
        table=table,
        reader=reader.reader,
        reason=reader.reason,
        columns=making_room(result_columns(table, preset, profile, kinds, dict(options.casts), options.names), options),
        rows=len(rows),
    )
    return part, chunks.TableKeys(
        table=table,
        rows=rows,
        table_numbers=named.get(preset.table_number or ""),
        image_numbers=named[preset.image_number],
        object_numbers=named.get(preset.object_number_of(table.compartment) or ""),
        parents={column: _whole_numbers(named[column], column) for column in parents},
    )


def making_room_for_plate(parts: Sequence[TablePlan], options: Options) -> list[TablePlan]:
    """Tables of a plate among others, whose own name tells it apart where none of them has a `Metadata_Plate`: what
    stands beside a column of another name may be equal on two plates."""
    own = {column.name for part in parts for column in part.columns if not column.beside}
    if options.plate_name is None or ADDED_PLATE in own:
        return list(parts)
    return [replace(part, columns=tuple(c for c in part.columns if c.name != ADDED_PLATE)) for part in parts]


def making_room(columns: tuple[ResultColumn, ...], options: Options) -> tuple[ResultColumn, ...]:
    """Columns of a plate among others, whose own TableNumber makes room for the plate's."""
    if not options.numbered:
        return columns
    return tuple(
        column._replace(name=OWN_TABLE_NUMBER) if column.name == ADDED_TABLE_NUMBER else column for column in columns
    )


def plate_told(
    parts: Sequence[TablePlan],
    keys: Sequence[chunks.TableKeys],
    readers: Sequence[TableReader],
    source: Source,
    preset: Preset,
    options: Options,
) -> str | int | None:
    """What tables without `Metadata_Plate` are told to be of: where no table has one, what the plate goes by here
    (single cells need one); else, where the plate is among others, what the image table calls it."""
    import pyarrow as pa

    found = {part.table.compartment: c for part in parts for c in part.columns if c.name == ADDED_PLATE}
    by_default = options.names == DEFAULT_NAMES
    if not found:
        needed = by_default and (options.joined or preset.flat)
        return source.plate if options.plate_name is None and needed else options.plate_name
    if not (options.plate_name and by_default) or IMAGE not in found:
        return None
    place, column = [part.table.compartment for part in parts].index(IMAGE), found[IMAGE]
    batches = readers[place].batches([keys[place].rows], [column.source], [pa.type_for_alias(column.read_type)])
    names = {name for arrays, _ in batches for name in arrays[0].unique().to_pylist()} - {None}
    return names.pop() if len(names) == 1 else None


def _whole_numbers(values: "pa.Array", column: str) -> "pa.Array":
    """Object numbers of partners; what is no whole number is no partner's."""
    import pyarrow as pa

    return values if values.type == pa.int64() else typed_array(values.to_pylist(), column, pa.int64())[0]
