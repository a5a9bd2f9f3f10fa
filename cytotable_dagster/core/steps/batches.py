"""Rows of a plate's tables as Arrow tables, in the names and types of the result."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import SchemaError
from cytotable_dagster.core.model.coercions import merged
from cytotable_dagster.core.model.types import Coercion
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.support.arrays import repeated

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    # A batch's table, and what was coerced in it.
    Batch = tuple[pa.Table, tuple[Coercion, ...]]


def read_batches(
    plan: Plan, compartment: str, rows: "Sequence[np.ndarray]", names: Sequence[str] | None = None
) -> "Generator[Batch, None, None]":
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
