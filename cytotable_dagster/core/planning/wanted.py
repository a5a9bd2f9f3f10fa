"""Which of a source's tables are converted: those that the preset speaks of, as far as targets name them."""

from collections.abc import Mapping, Sequence

from cytotable_dagster.core.errors import DamagedSourceError, KeyColumnError, TargetError
from cytotable_dagster.core.model.presets import IMAGE, USUAL, Preset
from cytotable_dagster.core.model.types import SourceColumn, SourceTable
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.sources.sqlite.pieces import piece_of


def source_tables(
    tables: Mapping[str, tuple[SourceColumn, ...]], preset: Preset, where: str
) -> tuple[SourceTable, ...]:
    """The tables of a file that the preset speaks of, image first; those that are missing are left out.

    Raises:
        TargetError: none of its compartments is there, nor images alone where none was asked for by name.
        DamagedSourceError: one is a view that cannot be read.
        KeyColumnError: a table lacks a key column.
    """
    names = {name.lower(): name for name in tables}
    found = []
    for compartment in (*preset.metadata, *preset.compartments):
        name = names.get(preset.table_of(compartment).lower())
        if name is None:
            continue
        table = SourceTable(compartment, name, tables[name])
        if preset.object_table is not None and compartment != IMAGE:
            part = piece_of(table, preset)
            if part is None:
                continue
            table = part
        if not table.columns:
            raise DamagedSourceError(f"{where}: SQLite cannot read the view {name}; mend it, or leave it out")
        missing = [key for key in preset.keys_of(compartment) if key not in table.column_names]
        if missing:
            raise KeyColumnError(
                f"{where}: table {name} has no column {missing[0]}, which preset {preset.name} needs as a key; "
                "use another preset=, none (to have it detected), or mend the source"
            )
        found.append(table)
    usual = preset.compartments == USUAL[1:]
    if not any(table.compartment != IMAGE for table in found) and not (found and usual):
        side_by_side = preset.object_table is not None
        wanted = ", ".join(preset.table_of(c) + f" ({c})" * side_by_side for c in preset.compartments)
        raise TargetError(
            f"{where}: none of the tables of preset {preset.name} ({wanted}) is there; "
            f"there are: {', '.join(sorted(tables)) or 'none'}"
        )
    return tuple(found)


def chosen_tables(
    there: tuple[SourceTable, ...], whole: Sequence[SourceTable], options: Options, where: str
) -> tuple[SourceTable, ...]:
    """Those of a source's tables that the targets name, beside the ones that are taken `whole`.

    Raises:
        TargetError: a target is not there, or is no part of the joined table that is asked for.
    """
    if not whole:
        return _named(there, options.targets, where)
    kinds = {table.compartment for table in whole}
    if options.joined:
        raise TargetError(f"{where}: {min(kinds)} is no part of a joined table; give a folder as dest_path")
    left = [target for target in options.targets or () if target.lower() not in kinds]
    return _named(there, left, where) if left else ()


def _named(found: tuple[SourceTable, ...], targets: Sequence[str] | None, where: str) -> tuple[SourceTable, ...]:
    """The tables that `targets` name, by compartment or table name in any case.

    Raises:
        TargetError: a target is not there; the message lists those that are.
    """
    if targets is None:
        return found
    if not targets:
        raise TargetError(f"{where}: targets= names no table; there are: {', '.join(t.compartment for t in found)}")
    by_name: dict[str, set[SourceTable]] = {}
    for table in found:
        for name in (table.stored, table.compartment):
            by_name.setdefault(name.lower(), set()).add(table)
    for target in targets:
        if target.lower() not in by_name:
            raise TargetError(
                f"{where}: no table is called {target!r}; there are: {', '.join(t.compartment for t in found)}"
            )
    wanted = {table for target in targets for table in by_name[target.lower()]}
    return tuple(table for table in found if table in wanted)
