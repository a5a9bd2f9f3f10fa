"""Values of a Parquet column in the type that a plan wants."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.types import Coercion
from cytotable_dagster.core.model.values import typed_array

if TYPE_CHECKING:
    import pyarrow as pa


def as_type(values: "pa.Array", column: str, type: "pa.DataType") -> "tuple[pa.Array, Coercion | None]":
    """An array of int64, float64, string or binary; what is no number is missing, as it is in every source, and what
    does not fit is counted."""
    import pyarrow as pa

    plain = _plain(values)
    if plain.type == type:
        return plain, None
    if not (pa.types.is_string(plain.type) or pa.types.is_binary(plain.type)) or plain.null_count == len(plain):
        try:
            return plain.cast(type), None
        except pa.ArrowInvalid:
            pass
    return typed_array(plain.to_pylist(), column, type)


def as_key(parts: "Sequence[pa.Array]", column: str) -> "pa.Array":
    """All values of a column of numbers as int64, or as text where they are that."""
    import pyarrow as pa

    plain = [_plain(part) for part in parts]
    type = pa.string() if any(pa.types.is_string(part.type) for part in plain) else pa.int64()
    return pa.concat_arrays([pa.array([], type), *(as_type(part, column, type)[0] for part in plain)])


def widest(one: "pa.DataType", other: "pa.DataType") -> "pa.DataType":
    """A type that holds what either does."""
    import pyarrow as pa

    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    numbers = all(pa.types.is_integer(type) or pa.types.is_floating(type) for type in (one, other))
    integers = all(map(pa.types.is_integer, (one, other)))
    return pa.int64() if integers else pa.float64() if numbers else pa.string()


def _plain(values: "pa.Array") -> "pa.Array":
    """The same in the widest type of its kind."""
    import pyarrow as pa
    import pyarrow.compute as pc

    of = pa.types
    if of.is_dictionary(values.type):
        return _plain(values.dictionary_decode())
    if of.is_floating(values.type) or of.is_decimal(values.type):
        reals = values.cast(pa.float64(), safe=False)
        missing = pc.is_nan(reals)
        return pc.if_else(missing, pa.scalar(None, pa.float64()), reals) if missing.true_count else reals
    if of.is_boolean(values.type) or of.is_temporal(values.type) or of.is_large_string(values.type):
        return values.cast(pa.string())
    if of.is_large_binary(values.type) or of.is_fixed_size_binary(values.type):
        return values.cast(pa.binary())
    if of.is_integer(values.type) and not of.is_uint64(values.type):
        return values.cast(pa.int64())
    return values
