"""Plates whose tables have different columns: the one schema for all of them, and what each plate lacks or adds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import SchemaError
from cytotable_dagster.core.model.names import PLATE, WELL, other_name
from cytotable_dagster.core.model.types import Coercion
from cytotable_dagster.core.planning.options import one_of
from cytotable_dagster.core.shown import counted

if TYPE_CHECKING:
    import pyarrow as pa

UNION, INTERSECTION = "union", "intersection"
SCHEMAS = (UNION, INTERSECTION)
# Columns named in a line of text; the record has them all.
_NAMED = 5

# A table's columns: name and the name of an Arrow type.
Columns = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PlateDrift:
    """What tells a plate's table from the others: columns of others that it `lacks`, columns that it `adds` (not all
    others have them), and columns that are `retyped` for the others' sake."""

    plate: str
    lacks: tuple[str, ...]
    adds: tuple[str, ...]
    retyped: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Drift:
    """How the plates' tables of one name differ; `columns` are those of the result. `rounded` are whole numbers, by
    plate, of files that were there before another plate's decimals made their column one of these. Printed, what
    differs."""

    table: str
    columns: Columns
    plates: tuple[PlateDrift, ...]
    rounded: tuple[tuple[str, Coercion], ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """A line for each column of a plate's file that was rounded."""
        return tuple(
            f"{self.table}: plate {plate}: {counted(found.rounded, 'whole number')} of {found.column} "
            f"{'has' if found.rounded == 1 else 'have'} too many digits for the type that other plates need and "
            f"{'was' if found.rounded == 1 else 'were'} rounded, such as {found.example}"
            for plate, found in self.rounded
        )

    def __repr__(self) -> str:
        told = "; ".join((*self.problems, *self.lines)) or "all plates alike"
        return f"<{self.table}: {counted(len(self.columns), 'column')}; {told}>"

    @property
    def lines(self) -> tuple[str, ...]:
        """A line for each plate that differs, and each way."""
        return tuple(
            f"{self.table}: plate {plate.plate} {text} {counted(len(names), 'column')}{_such_as(names)}"
            for plate in self.plates
            for text, names in (("lacks", plate.lacks), ("adds", plate.adds), ("has other types in", plate.retyped))
            if names
        )


@dataclass(frozen=True)
class _Shape:
    """Plates that have the same columns, of these types."""

    types: Mapping[str, str]
    plates: tuple[str, ...]


def unified(
    table: str, plates: Mapping[str, Columns], mode: str = UNION, is_empty: "Callable[[str, str], bool] | None" = None
) -> Drift:
    """One schema for the tables of several plates: columns in the order of the first plate that has them.

    Whole and real numbers become real, narrow numbers wide. A column without any value takes the others' type, and
    their name where it differs as that of a measurement does from that of anything else (`Cells_X`,
    `Metadata_Cells_X`), which by its values it might be either of. Names of plates and wells that are whole numbers on
    one plate and text on another are text.

    Args:
        plates: the columns of each plate's table; the order counts.
        mode: `union` of the columns, or `intersection`.
        is_empty: whether a column, given plate and column, has no value in it; asked only where types conflict.

    Raises:
        SchemaError: a column has types on two plates that are not one; the message names both.
        OptionError: an unknown `mode`.
    """
    one_of("schema", mode, SCHEMAS)
    # Hundreds of plates have a handful of schemas.
    groups: dict[Columns, list[str]] = {}
    for plate, columns in plates.items():
        groups.setdefault(columns, []).append(plate)
    if len(groups) == 1:
        return Drift(table, next(iter(groups)), ())
    shapes = _with_one_name(table, [_Shape(dict(columns), tuple(names)) for columns, names in groups.items()], is_empty)
    every = list(dict.fromkeys(name for shape in shapes for name in shape.types))
    common = {name for name in every if all(name in shape.types for shape in shapes)}
    chosen = [name for name in every if mode == UNION or name in common]
    wanted = {name: _one_type(table, name, [s for s in shapes if name in s.types], is_empty) for name in chosen}
    found: dict[str, PlateDrift] = {}
    for shape in shapes:
        own = shape.types
        lacks = tuple(name for name in every if name not in own)
        adds = tuple(name for name in own if name not in common)
        retyped = tuple(name for name in own if name in wanted and wanted[name] != own[name])
        if lacks or adds or retyped:
            found |= {plate: PlateDrift(plate, lacks, adds, retyped) for plate in shape.plates}
    return Drift(table, tuple(wanted.items()), tuple(found[plate] for plate in plates if plate in found))


def columns_of(schema: "pa.Schema") -> Columns:
    """The columns of an Arrow schema."""
    return tuple((field.name, str(field.type)) for field in schema)


def schema_of(columns: Columns) -> "pa.Schema":
    """The Arrow schema with these columns."""
    import pyarrow as pa

    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns])


def _with_one_name(
    table: str, shapes: Sequence[_Shape], is_empty: "Callable[[str, str], bool] | None"
) -> Sequence[_Shape]:
    """The plates' columns, those without any value called as on plates where they have some.

    Raises:
        SchemaError: both names have values, of types that are not one.
    """
    names = dict.fromkeys(name for shape in shapes for name in shape.types)
    for name in names:
        other = other_name(name)
        if is_empty is None or other not in names:
            continue
        ours, theirs = ([shape for shape in shapes if key in shape.types] for key in (name, other))
        if not ours or not theirs or any(shape in theirs for shape in ours):
            continue
        mine, kind = ours[0].types[name], theirs[0].types[other]
        if all(is_empty(plate, name) for shape in ours for plate in shape.plates):
            shapes = [replace(shape, types=_renamed(shape.types, name, other, kind)) for shape in shapes]
        elif _common_type({mine, kind}) is None and not all(
            is_empty(plate, other) for shape in theirs for plate in shape.plates
        ):
            raise SchemaError(
                f"{table}: column {name} is {mine} on plate {ours[0].plates[0]} and {kind}, as {other}, on plate "
                f"{theirs[0].plates[0]}; leave one of them out, or mend its source"
            )
    return shapes


def _renamed(types: Mapping[str, str], name: str, other: str, kind: str) -> dict[str, str]:
    return {other if key == name else key: kind if key == name else own for key, own in types.items()}


def _one_type(table: str, name: str, shapes: Sequence[_Shape], is_empty: "Callable[[str, str], bool] | None") -> str:
    """The type of a column that all these have."""
    common = _common_type({shape.types[name] for shape in shapes})
    if common is None and is_empty is not None:
        shapes = [shape for shape in shapes if not all(is_empty(plate, name) for plate in shape.plates)] or shapes
        common = _common_type({shape.types[name] for shape in shapes})
    if common is not None:
        return common
    if name.endswith((PLATE, WELL)) and {shape.types[name] for shape in shapes} == {"int64", "string"}:
        # Barcodes of digits alone on one plate; a whole number is as well written out.
        return "string"
    first = shapes[0]
    other = next(shape for shape in shapes if _common_type({first.types[name], shape.types[name]}) is None)
    raise SchemaError(
        f"{table}: column {name} is {first.types[name]} on plate {first.plates[0]} and {other.types[name]} on plate "
        f"{other.plates[0]}; leave one of them out, or mend its source"
    )


def _common_type(kinds: set[str]) -> str | None:
    """The type that holds values of all of these; None where there is none."""
    import pyarrow as pa

    if len(kinds) == 1:
        return next(iter(kinds))
    types = [pa.type_for_alias(kind) for kind in kinds]
    if all(pa.types.is_integer(kind) for kind in types):
        return "int64"
    if types and all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in types):
        return "double"
    return None


def _such_as(names: tuple[str, ...]) -> str:
    more = ", ..." if len(names) > _NAMED else ""
    return f": {', '.join(names[:_NAMED])}{more}"
