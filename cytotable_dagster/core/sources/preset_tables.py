"""Which of a plate's tables a preset speaks of."""

from cytotable_dagster.core.errors import DamagedSourceError, KeyColumnError, TargetError
from cytotable_dagster.core.model.presets import IMAGE, USUAL, Preset
from cytotable_dagster.core.model.types import SourceTable
from cytotable_dagster.core.sources.protocols import OpenPlate
from cytotable_dagster.core.sources.sqlite.pieces import piece_of


def tables_of(plate: OpenPlate, preset: Preset, where: str) -> tuple[SourceTable, ...]:
    """The tables of a plate that the preset speaks of, image first; those that are missing are left out.

    Raises:
        TargetError: none of its compartments is there, nor images alone where none was asked for by name.
        DamagedSourceError: one is a view that cannot be read.
        KeyColumnError: a table lacks a key column.
    """
    tables = plate.tables
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
