"""Which one type each column has, decided from its values before any chunk is read (DESIGN, "Types")."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from cytotable_dagster.core.errors import SchemaError
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
from cytotable_dagster.core.model.text_kind import TextKind
from cytotable_dagster.core.model.types import SourceColumn, SourceTable

if TYPE_CHECKING:
    import numpy as np

# Positions in a profile: the storage classes of https://sqlite.org/datatype3.html.
NULL, INTEGER, REAL, TEXT, BLOB = range(5)
# What a column of declared numbers is read as, where its values are what it declares.
RESULT_TYPES = {"INTEGER": "int64", "REAL": "float64"}
_NUMBERS = ("int64", "float64")


class ResultColumn(NamedTuple):
    """A column of the result: the source column it comes from, its name, and the names of two types.

    `read_type` is what values are read as (int64, float64, string, binary), `type` what is written. `beside` says that
    the source column is another column of the result too, by the name that its own gives it.
    """

    source: str
    name: str
    read_type: str
    type: str
    beside: bool = False


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
    # Python's own numbers: a look at one of numpy's takes longer than all that is decided here.
    for column, counts in zip(table.columns, profile.tolist(), strict=True):
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
            found.append(fitting._replace(name=name, beside=True))
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
    for column, counts in zip(table.columns, profile.tolist(), strict=True):
        if counts[TEXT]:
            found[0 if column.name in keys else 1 if counts[INTEGER] or counts[REAL] else 2].append(column.name)
    return Candidates(*map(tuple, found))


def _whole_number_columns(preset: Preset, compartment: str) -> set[str]:
    return {*preset.keys_of(compartment), *preset.parents_of(compartment).values()}
