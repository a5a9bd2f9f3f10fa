"""`data_type_cast_map`: which types are written in place of those that values are read as."""

from collections.abc import Mapping

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.support.suggestions import there_are

_CAST_GROUPS = {"float": "float64", "integer": "int64", "string": "string"}
_CAST_NAMES = {
    "float": "float32",
    "real": "float32",
    "integer": "int32",
    "bigint": "int64",
    "text": "string",
    "varchar": "string",
}


def checked_casts(data_type_cast_map: Mapping[str, str] | None) -> dict[str, str]:
    """`{"float": "float32"}` as {read type: written type}; names as Arrow's or DuckDB's.

    Raises:
        OptionError: a group or type that is not known.
    """
    import pyarrow as pa

    casts = {}
    for group, wanted in (data_type_cast_map or {}).items():
        if group not in _CAST_GROUPS:
            raise OptionError(
                f"data_type_cast_map: no group of types is named {group!r}; {there_are(str(group), _CAST_GROUPS)}"
            )
        alias = str(wanted).lower()
        try:
            arrow = pa.type_for_alias(_CAST_NAMES.get(alias, alias))
        except ValueError:
            raise OptionError(
                f"data_type_cast_map: {wanted!r} (for {group!r}) is not the name of an Arrow type"
            ) from None
        casts[_CAST_GROUPS[group]] = str(arrow)
    return casts
