"""Which one type each column has, decided from its values before any chunk is read (DESIGN, "Types")."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from cytotable_dagster.core.errors import OptionError, SchemaError
from cytotable_dagster.core.model.names import (
    DEFAULT_NAMES,
    OBJECT_NUMBER,
    PLATE,
    SITE,
    WELL,
    column_name,
    is_identity,
    names_no_measurement,
)
from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.model.types import SourceColumn, SourceTable
from cytotable_dagster.core.model.values import (
    BARE,
    BARE_MARK,
    KEPT,
    LED,
    LED_MARK,
    LONG,
    LONG_MARK,
    MOST_DIGITS,
    NO_DIGIT,
    POINT_MARK,
)

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# Positions in a profile: the storage classes of https://sqlite.org/datatype3.html.
NULL, INTEGER, REAL, TEXT, BLOB = range(5)
# What a column of declared numbers is read as, where its values are what it declares.
RESULT_TYPES = {"INTEGER": "int64", "REAL": "float64"}
_NUMBERS = ("int64", "float64")

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

    `read_type` is what values are read as (int64, float64, string, binary), `type` what is written. `beside` says that
    the source column is another column of the result too, by the name that its own gives it.
    """

    source: str
    name: str
    read_type: str
    type: str
    beside: bool = False


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

    `fractional` means a number that no int64 holds, `padded` one that is written otherwise than an int64 is: 007, 7.0;
    `lossy` one that says less than its text where that is a name; `marks` are those of `values.marks_of`.
    """

    number: bool
    fractional: bool
    infinite: bool
    other: bool
    padded: bool = False
    lossy: bool = False
    marks: int = 0

    @property
    def whole(self) -> bool:
        return self.number and not (self.fractional or self.infinite or self.other)

    def stays_text(self, name: str) -> bool:
        """Whether a column that holds nothing else, but perhaps whole numbers, is text: where a value is no number, or
        loses something as one."""
        fractional = self.fractional or self.infinite
        if is_identity(name):
            return self.other or self.infinite or self.lossy or loses_as_name(self.marks, fractional)
        return self.other or loses_as_count(self.marks, fractional)


def loses_as_name(marks: int, fractional: bool) -> bool:
    """Whether numbers of these marks say less than their text where it names a thing; `fractional` if some are real."""
    return bool(marks & LONG_MARK and fractional) or (marks & (BARE_MARK | POINT_MARK)) == BARE_MARK


def loses_as_count(marks: int, fractional: bool) -> bool:
    """The same where they are no names: zeros and signs of a real say nothing."""
    return bool(marks & LED_MARK) and not fractional


# Text of which it is known that none of it is a number, or that it was written to stay as it is.
WORDS = TextKind(number=False, fractional=False, infinite=False, other=True)


def result_columns(
    table: SourceTable,
    preset: Preset,
    profile: "np.ndarray",
    kinds: Mapping[str, TextKind],
    casts: Mapping[str, str],
    names: str = DEFAULT_NAMES,
) -> tuple[ResultColumn, ...]:
    """Names and types of a compartment's columns, and of those that stand beside them under names that clients ask for.

    Args:
        profile: counts of storage classes, shape (columns, 5), in the order NULL, INTEGER, REAL, TEXT, BLOB.
        kinds: the kind of each column that `text_candidates` named.
        casts: a checked `data_type_cast_map` (see `checked_casts`).
        names: one of `names.NAMES`.

    Raises:
        SchemaError: two columns get one name.
    """
    import numpy as np

    keys = _whole_number_columns(preset, table.compartment)
    parts = {*keys, *preset.image_parts}
    result: list[ResultColumn] = []
    for column, counts in zip(table.columns, profile, strict=True):
        key = column.name in keys
        kind = kinds.get(column.name)
        read_type = decide_type(column, counts, key=key, kind=kind)
        if column.name == preset.table_number and kind and kind.padded:
            # Which may be a name: as numbers, 007 and 7 would be one.
            read_type = "string"
        measured = column.measured and read_type in _NUMBERS and column.name not in parts
        measured = measured and not names_no_measurement(column.name)
        name = (
            column.name
            if column.told
            else column_name(column.name, table.compartment, preset, names, measured=measured)
        )
        result.append(
            ResultColumn(
                source=column.name,
                name=name,
                read_type=read_type,
                type=read_type if key else casts.get(read_type, read_type),
            )
        )
    _refuse_equal_names(table, result)
    if names == DEFAULT_NAMES:
        # A table without rows has the columns of any other.
        filled = np.flatnonzero(profile[:, INTEGER:].any(axis=1) | ~profile.any(axis=1))
        result += _beside(table, preset, [result[place] for place in filled], result)
    return tuple(result)


def _beside(
    table: SourceTable, preset: Preset, filled: Sequence[ResultColumn], columns: Sequence[ResultColumn]
) -> list[ResultColumn]:
    """Plate, well, site and object number under the names that clients ask for, where the table has them only under
    others; one of the `filled` columns, for without any value it is none of them."""
    number = preset.object_number_of(table.compartment)
    wanted = {PLATE: preset.plate_columns, WELL: preset.well_columns, SITE: preset.site_columns}
    wanted[OBJECT_NUMBER] = () if number is None else (number,)
    # By what a column may be called, in any case, with its compartment's name before it or not.
    called: dict[str, ResultColumn] = {}
    for column in filled:
        called.setdefault(column.source.lower(), column)
        called.setdefault(column.source.removeprefix(f"{table.compartment}_").lower(), column)
    taken = {column.name for column in columns}
    found = []
    for name, sources in wanted.items():
        # In the order of the names, not of the columns.
        fitting = next((called[source.lower()] for source in sources if source.lower() in called), None)
        if fitting is not None and name not in taken:
            found.append(replace(fitting, name=name, beside=True))
    return found


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
    if kind and (not numbers or is_identity(column.name)) and kind.stays_text(column.name):
        return "string"
    if numbers or (kind and (kind.number or kind.infinite)):
        real = counts[REAL] or column.affinity == "REAL" or (kind and (kind.infinite or kind.fractional))
        return "float64" if real else "int64"
    return {"INTEGER": "int64", "TEXT": "string"}.get(
        column.affinity, "string" if is_identity(column.name) else "float64"
    )


class Candidates(NamedTuple):
    """Columns with text that may be numbers: keys, such as hold numbers too, and those that hold nothing else."""

    keys: tuple[str, ...]
    mixed: tuple[str, ...]
    texts: tuple[str, ...]


def text_candidates(table: SourceTable, preset: Preset, profile: "np.ndarray") -> Candidates:
    """The columns whose text is to be looked at as numbers."""
    keys = _whole_number_columns(preset, table.compartment)
    found: tuple[list[str], list[str], list[str]] = ([], [], [])
    for column, counts in zip(table.columns, profile, strict=True):
        if counts[TEXT]:
            found[0 if column.name in keys else 1 if counts[INTEGER] or counts[REAL] else 2].append(column.name)
    return Candidates(*map(tuple, found))


def text_kind(values: "pa.ChunkedArray | pa.Array", *, may_stay: bool = True) -> TextKind:
    """The kind of a string column's values, numbers among them written out.

    Args:
        may_stay: whether the column may be text though all of it reads as numbers; else it is not looked at what they
            would lose (`lossy`, `marks`).
    """
    import pyarrow.compute as pc

    words = pc.utf8_lower(pc.utf8_trim_whitespace(values.unique().drop_null()))
    words = words.filter(pc.invert(pc.match_substring_regex(words, r"^([+-]?nan|null|)$")))
    infinite = pc.match_substring_regex(words, r"^[+-]?inf(inity)?$")
    number = pc.match_substring_regex(words, r"^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$")
    other = pc.invert(pc.or_(infinite, number))
    numbers = words.filter(number)
    fractional = not _fit_int64(numbers)
    lossy, marks = _losses(numbers) if may_stay and not _any(other) else (False, 0)
    return TextKind(
        number=_any(number),
        fractional=fractional,
        infinite=_any(infinite),
        other=_any(other),
        padded=_any(pc.invert(pc.match_substring_regex(values.unique().drop_null(), r"^(0|-?[1-9]\d*)$"))),
        lossy=lossy,
        marks=marks,
    )


def _losses(numbers: "pa.StringArray") -> tuple[bool, int]:
    """`TextKind.lossy` and `TextKind.marks` of numbers as they are written."""
    import pyarrow.compute as pc

    real = numbers.filter(pc.match_substring_regex(numbers, r"[.e]"))
    digits = pc.utf8_ltrim(pc.replace_substring_regex(real, NO_DIGIT, ""), "0")
    # Compared here, for Arrow imports pandas to compare with a number of Python's.
    longest = pc.max(pc.utf8_length(digits)).as_py() or 0
    lossy = _any(pc.invert(_all_of(numbers, KEPT))) or longest > MOST_DIGITS
    marks = sum(
        mark * _any(_all_of(numbers, pattern))
        for mark, pattern in ((LED_MARK, LED), (LONG_MARK, LONG), (BARE_MARK, BARE), (POINT_MARK, r".*\..*"))
    )
    return lossy, marks


def _all_of(words: "pa.StringArray", pattern: str) -> "pa.BooleanArray":
    import pyarrow.compute as pc

    return pc.match_substring_regex(words, f"^({pattern})$")


def _any(mask: "pa.BooleanArray") -> bool:
    return bool(mask.true_count)


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
