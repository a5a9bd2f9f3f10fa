"""Which one type each column has, decided from its values before any chunk is read (DESIGN, "Types")."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from cytotable_dagster.core.columns import is_identity, plain_name, result_name
from cytotable_dagster.core.errors import OptionError, SchemaError
from cytotable_dagster.core.presets import Preset
from cytotable_dagster.core.types import SourceColumn, SourceTable

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# Positions in a profile: the storage classes of https://sqlite.org/datatype3.html.
NULL, INTEGER, REAL, TEXT, BLOB = range(5)
# What a column of declared numbers is read as, where its values are what it declares.
RESULT_TYPES = {"INTEGER": "int64", "REAL": "float64"}
NUMERIC_AFFINITIES = frozenset({"INTEGER", "REAL", "NUMERIC"})

_CAST_GROUPS = {"float": "float64", "integer": "int64", "string": "string"}
_CAST_NAMES = {
    "float": "float32",
    "real": "float32",
    "integer": "int32",
    "bigint": "int64",
    "text": "string",
    "varchar": "string",
}


@dataclass(frozen=True)
class ResultColumn:
    """A column of the result: the source column it comes from, its name, and the names of two types.

    `read_type` is what values are read as (int64, float64, string, binary), `type` what is written.
    """

    source: str
    name: str
    read_type: str
    type: str


@cache
def affinity(declared: str) -> str:
    """The affinity of a declared type: https://sqlite.org/datatype3.html#determination_of_column_affinity."""
    upper = declared.upper()
    if "INT" in upper:
        return "INTEGER"
    if any(word in upper for word in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if not upper or "BLOB" in upper:
        return "BLOB"
    if any(word in upper for word in ("REAL", "FLOA", "DOUB")):
        return "REAL"
    return "NUMERIC"


@dataclass(frozen=True)
class TextKind:
    """What the values of a column that holds text say when read as numbers, missing values set aside.

    `fractional` means a number that no int64 holds, `padded` one that is written otherwise than an int64 is: 007, 7.0.
    """

    number: bool
    fractional: bool
    infinite: bool
    other: bool
    padded: bool = False

    @property
    def whole(self) -> bool:
        return self.number and not (self.fractional or self.infinite or self.other)


def result_columns(
    table: SourceTable,
    preset: Preset,
    profile: "np.ndarray",
    kinds: Mapping[str, TextKind],
    casts: Mapping[str, str],
) -> tuple[ResultColumn, ...]:
    """Names and types of a compartment's columns.

    Args:
        profile: counts of storage classes, shape (columns, 5), in the order NULL, INTEGER, REAL, TEXT, BLOB.
        kinds: the kind of each column that `text_candidates` named.
        casts: a checked `data_type_cast_map` (see `checked_casts`).

    Raises:
        SchemaError: two columns get one name.
    """
    keys = _whole_number_columns(preset, table.compartment)
    result = []
    for column, counts in zip(table.columns, profile, strict=True):
        key = column.name in keys
        kind = kinds.get(column.name)
        read_type = decide_type(column, counts, key=key, kind=kind)
        if column.name == preset.table_number and kind and kind.padded:
            # Which may be a name: as numbers, 007 and 7 would be one.
            read_type = "string"
        if preset.prefix:
            name = result_name(column.name, table.compartment, preset.identifying_columns)
        else:
            name = plain_name(column.name, preset.identifying_columns)
        result.append(
            ResultColumn(
                source=column.name,
                name=name,
                read_type=read_type,
                type=read_type if key else casts.get(read_type, read_type),
            )
        )
    _refuse_equal_names(table, result)
    return tuple(result)


def _refuse_equal_names(table: SourceTable, columns: Sequence[ResultColumn]) -> None:
    sources: dict[str, str] = {}
    for column in columns:
        other = sources.setdefault(column.name, column.source)
        if other != column.source:
            raise SchemaError(
                f"{table.name}: columns {other} and {column.source} would both be called {column.name}; "
                "rename one in the source, or tell them apart with identifying_columns="
            )


def decide_type(column: SourceColumn, counts: Sequence[int], *, key: bool, kind: TextKind | None) -> str:
    """int64, float64, string or binary, by the storage classes of a column's values.

    Args:
        counts: how many values are NULL, INTEGER, REAL, TEXT, BLOB.
        key: whether the column identifies rows, which only whole numbers (or all text) do.
        kind: what the text says as numbers; None where it was not asked.
    """
    numbers = counts[INTEGER] + counts[REAL]
    if counts[BLOB] and not numbers and not counts[TEXT]:
        return "binary"
    if key:
        return "int64" if not counts[TEXT] or (kind and kind.whole) else "string"
    if counts[TEXT] and kind is None:
        return "string"
    if kind and kind.other and not numbers:
        return "string"
    if numbers or (kind and (kind.number or kind.infinite)):
        real = counts[REAL] or column.affinity == "REAL" or (kind and (kind.infinite or kind.fractional))
        return "float64" if real else "int64"
    return {"INTEGER": "int64", "TEXT": "string"}.get(
        column.affinity, "string" if is_identity(column.name) else "float64"
    )


def text_candidates(table: SourceTable, preset: Preset, profile: "np.ndarray") -> tuple[str, ...]:
    """Columns whose text is to be looked at as numbers: keys; columns that also hold numbers or declare them;
    and, where a table declares nothing but text, every column that does not name a thing."""
    keys = _whole_number_columns(preset, table.compartment)
    all_text = all(column.affinity not in NUMERIC_AFFINITIES for column in table.columns)
    return tuple(
        column.name
        for column, counts in zip(table.columns, profile, strict=True)
        if counts[TEXT]
        and (
            column.name in keys
            or (
                not is_identity(column.name)
                and (counts[INTEGER] or counts[REAL] or all_text or column.affinity in NUMERIC_AFFINITIES)
            )
        )
    )


def text_kind(values: "pa.ChunkedArray | pa.Array") -> TextKind:
    """The kind of a string column's values, numbers among them written out."""
    import pyarrow.compute as pc

    words = pc.utf8_lower(pc.utf8_trim_whitespace(values.unique().drop_null()))
    words = words.filter(pc.invert(pc.match_substring_regex(words, r"^([+-]?nan|null|)$")))
    infinite = pc.match_substring_regex(words, r"^[+-]?inf(inity)?$")
    number = pc.match_substring_regex(words, r"^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$")
    other = pc.invert(pc.or_(infinite, number))
    return TextKind(
        number=_any(number),
        fractional=not _fit_int64(words.filter(number)),
        infinite=_any(infinite),
        other=_any(other),
        padded=_any(pc.invert(pc.match_substring_regex(values.unique().drop_null(), r"^(0|-?[1-9]\d*)$"))),
    )


def _any(mask: "pa.BooleanArray") -> bool:
    return mask.true_count > 0


def _fit_int64(words: "pa.StringArray") -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.all(pc.match_substring_regex(words, r"^[+-]?\d+$"), min_count=0).as_py():
        return False
    try:
        pc.utf8_ltrim(words, "+").cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True


def _whole_number_columns(preset: Preset, compartment: str) -> set[str]:
    return {*preset.keys_of(compartment), *preset.parents_of(compartment).values()}


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
                f"data_type_cast_map: no group of types is named {group!r}; there are: {', '.join(_CAST_GROUPS)}"
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
