"""The columns of a warehouse's table, and how they become such as hold those of one plate more."""

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import SchemaError
from cytotable_dagster.core.model.names import other_name
from cytotable_dagster.core.planning.unify import Columns, schema_of, unified

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.schema import Schema
    from pyiceberg.table import Transaction

# Where a field of a Parquet file says which of the table's it is.
FIELD_ID = b"PARQUET:field_id"
# Arrow's types that Iceberg has not -> the narrowest that it has and that holds their values.
_WIDER = {
    **dict.fromkeys(("int8", "int16", "uint8", "uint16"), "int32"),
    "uint32": "int64",
    "halffloat": "float",
    "large_string": "string",
    "large_binary": "binary",
}
_KEPT = ("int32", "int64", "float", "double", "string", "binary", "bool")
# What Iceberg makes of a column without touching files.
_PROMOTED = {("int32", "int64"), ("float", "double")}


def iceberg_columns(plate: str, schema: "pa.Schema", keys: "Callable[[str], bool]") -> Columns:
    """A plate's columns, in types that Iceberg has.

    Features are real numbers whatever the plate's are, as Iceberg cannot make whole numbers real where a later plate
    has such without writing all plates anew.

    Args:
        keys: whether a column is no feature.

    Raises:
        SchemaError: a type that it has not.
    """
    import pyarrow as pa

    columns = []
    for field in schema:
        kind = _WIDER.get(str(field.type), str(field.type))
        if kind not in _KEPT:
            raise SchemaError(
                f"plate {plate}: column {field.name} is {kind}, which Iceberg has not; cast it with data_type_cast_map="
            )
        feature = pa.types.is_integer(field.type) and not keys(field.name)
        columns.append((field.name, "double" if feature else kind))
    return tuple(columns)


def type_of(kind: str) -> "pa.DataType":
    """The Arrow type of that name."""
    return schema_of((("", kind),)).types[0]


def flat_columns(schema: "Schema") -> Columns:
    """Those of a table that are not nested."""
    import pyarrow as pa
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    fields = [
        field for field in schema_to_pyarrow(schema, include_field_ids=False) if not pa.types.is_nested(field.type)
    ]
    return tuple((field.name, _WIDER.get(str(field.type), str(field.type))) for field in fields)


def numbered(schema: "pa.Schema", table: "Schema") -> "pa.Schema":
    """The fields with the numbers that they have in the table; nested ones as there."""
    import pyarrow as pa
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    known = schema_to_pyarrow(table)
    fields = []
    for field in schema:
        own = known.field(known.get_field_index(field.name))
        kind = own.type if pa.types.is_nested(own.type) else field.type
        fields.append(pa.field(field.name, kind, metadata={FIELD_ID: own.metadata[FIELD_ID]}))
    return pa.schema(fields)


def wanted_columns(
    name: str,
    there: Columns,
    others: Collection[str],
    plate: str,
    own: Columns,
    is_empty: Callable[[str, str], bool],
) -> dict[str, str]:
    """What the table is to have for this plate to be among the others.

    Raises:
        SchemaError: a column has types that are not one.
    """
    if not others:
        # What plates that are gone had is held against no other.
        return {**dict(there), **dict(own)}
    try:
        return dict(unified(name, {**dict.fromkeys(others, there), plate: own}, is_empty=is_empty).columns)
    except SchemaError as error:
        raise SchemaError(f"{error}; or put plate {plate} into a warehouse of its own") from error


def renamed(own: Columns, wanted: Mapping[str, str]) -> dict[str, str]:
    """What a plate's columns are called among those wanted, by what they are called."""
    names = {name for name, _ in own}
    # Of two names that mean one column, `unify.unified` leaves the one that has no value in it.
    return {name: name if name in wanted or other_name(name) in names else other_name(name) for name in names}


def change_columns(change: "Transaction", there: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Give the table the columns wanted; those that are others under their names for that, whose values plates' files
    are to have anew."""
    import pyarrow as pa
    from pyiceberg.types import DoubleType, LongType

    changed = {name for name, kind in there.items() if wanted.get(name) != kind}
    promoted = {name for name in changed if (there[name], wanted.get(name)) in _PROMOTED}
    others = [name for name in there if name in changed - promoted]
    added = [name for name in wanted if name not in there or name in others]
    if changed:
        with change.update_schema() as update:
            for name in sorted(promoted):
                update.update_column((name,), LongType() if wanted[name] == "int64" else DoubleType())
            for name in others:
                update.delete_column((name,))
    if added:
        with change.update_schema() as update:
            update.union_by_name(pa.schema([(name, type_of(wanted[name])) for name in added]))
            order = list(there)
            for name in others:
                place = order.index(name)
                if name in wanted and place:
                    update.move_after((name,), (order[place - 1],))
    return [name for name in others if name in wanted]
