"""Tables of a SQLite file that no compartment comes from, see `sources.unconverted`."""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.model.types import SourceColumn, SourceTable, Unconverted
from cytotable_dagster.core.sources.sqlite.catalog import UNREADABLE, quoted
from cytotable_dagster.core.sources.sqlite.tables import objects_in, start_of
from cytotable_dagster.core.sources.unconverted import (
    EXPERIMENT,
    RELATIONSHIPS,
    about_other,
    objects_about,
    table_about,
)

# Rows up to which they are counted.
_FEW = 1000
# Names of tables of each kind, the fullest first, after a preset's own beginning of names or CellProfiler's.
_NAMES = {EXPERIMENT: ("experiment",), RELATIONSHIPS: ("relationshipsview", "relationships")}
# Where CellProfiler's ExportToDatabase begins the name of a set of tables.
_SET = re.compile(r"(?P<prefix>.*?)Per_(?P<name>.+)", re.IGNORECASE)


def in_sqlite(
    path: Path, tables: Mapping[str, Sequence[SourceColumn]], preset: Preset, used: Sequence[SourceTable]
) -> tuple[Unconverted, ...]:
    """The tables of a SQLite file that are not `used`, by name; with objects of a table of all that are not.

    Args:
        tables: all that are there, with their columns.
    """
    left = sorted(set(tables) - {table.stored for table in used})
    pieces = _pieces_left(tables, preset, used)
    if not left:
        return pieces
    counts = _few_rows(path, [name for name in left if tables[name]])
    kinds = {name: kind for kind, name in others_in(tables, preset).items()}
    told = (
        Unconverted(
            name,
            counts.get(name),
            *(about_other(kinds[name]) if name in kinds else _why(name, [c.name for c in tables[name]], preset)),
        )
        for name in left
    )
    return (*told, *pieces)


def others_in(tables: Mapping[str, Sequence[SourceColumn]], preset: Preset) -> dict[str, str]:
    """By kind the table of a SQLite file that is of it: of the preset's own set before another's, views before what
    they are of."""
    start = start_of(preset).lower()
    found = {}
    for kind, endings in _NAMES.items():
        ranks = {
            name: (place, not name.lower().startswith(start), name)
            for name, columns in tables.items()
            for place, ending in enumerate(endings)
            if columns and re.fullmatch(rf"({re.escape(start)}|.*per_|){ending}", name.lower())
        }
        if ranks:
            found[kind] = min(ranks, key=ranks.__getitem__)
    return found


def _why(name: str, columns: Sequence[str], preset: Preset) -> tuple[str, str]:
    """Why a table is no compartment's, and what takes it."""
    if not columns:
        return "a view that SQLite cannot read", ""
    compartment = _compartment(name, preset)
    about = None if compartment is None else table_about(compartment, columns, preset)
    if about is not None:
        return about
    own, other = start_of(preset), _SET.fullmatch(name)
    if other and other["prefix"].lower() != own.lower().removesuffix("per_"):
        named = f"{other['prefix']}Per_{{compartment}}"
        return f"of another set of tables, {other['prefix']}Per_*", f'a preset with table = "{named}" takes that set'
    return f"no images or objects, without the keys of preset {preset.name}", ""


def _pieces_left(
    tables: Mapping[str, Sequence[SourceColumn]], preset: Preset, used: Sequence[SourceTable]
) -> tuple[Unconverted, ...]:
    """The objects of a table that holds all of an image's side by side that no compartment is made of."""
    whole = next((table.whole for table in used if table.whole), None)
    taken = {table.compartment for table in used}
    names = objects_in(column.name for column in tables[whole]) if whole else ()
    left = [name for name in names if name not in taken]
    return tuple(Unconverted(f"{whole} ({name})", None, *objects_about(name, preset)) for name in left)


def _compartment(name: str, preset: Preset) -> str | None:
    """What a table would be the compartment of by its name."""
    start, end = start_of(preset), preset.table.partition("{compartment}")[2]
    lower = name.lower()
    fits = lower.startswith(start.lower()) and lower.endswith(end.lower()) and len(name) > len(start) + len(end)
    return name[len(start) : len(name) - len(end)] if fits else None


def _few_rows(path: Path, names: Sequence[str]) -> dict[str, int]:
    """The number of rows of tables that have but a few; of views that takes any time."""
    found = {}
    try:
        link = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            stored = {name for (name,) in link.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            for name in stored.intersection(names):
                query = f"SELECT count(*) FROM (SELECT 1 FROM {quoted(name)} LIMIT {_FEW + 1})"
                (rows,) = link.execute(query).fetchone()
                if rows <= _FEW:
                    found[name] = rows
        finally:
            link.close()
    except UNREADABLE:
        # A damaged table that nothing is made of is nobody's concern.
        return found
    return found
