"""A plate in a SQLite file, as all kinds of plates are opened; see `protocols.OpenPlate`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.model.types import Source, SourceColumn, SourceTable
from cytotable_dagster.core.sources.protocols import TableReader, Told
from cytotable_dagster.core.sources.sqlite.catalog import check_is_sqlite, read_tables
from cytotable_dagster.core.sources.sqlite.reader import open_table
from cytotable_dagster.core.sources.sqlite.tables import notes_on
from cytotable_dagster.core.sources.sqlite.unconverted import in_sqlite, others_in

if TYPE_CHECKING:
    from cytotable_dagster.core.sources.sqlite.pages import PageTable


def open_sqlite_plate(source: Source, preset: Preset, copies: Path) -> "SqlitePlate":
    """The tables of the file; see `opening.open_plate`."""
    check_is_sqlite(source.path)
    return SqlitePlate(source.file, preset, copies, read_tables(source.file))


@dataclass(frozen=True)
class SqlitePlate:
    file: Path
    preset: Preset
    copies: Path
    tables: Mapping[str, tuple[SourceColumn, ...]]
    # Tables that several compartments are parts of, once they are open.
    _wholes: "dict[str, PageTable]" = field(default_factory=dict)

    keeps_beside = False

    @property
    def others(self) -> Mapping[str, SourceTable]:
        kinds = others_in(self.tables, self.preset)
        return {kind: SourceTable(kind, name, self.tables[name]) for kind, name in kinds.items()}

    def open(self, table: SourceTable, keys: Sequence[str]) -> TableReader:
        return open_table(self.file, table, keys, self.copies, self._wholes)

    def told(self, there: Sequence[SourceTable], whole: Sequence[SourceTable]) -> Told:
        return Told(
            notes=(*_lacking(there, self.preset), *notes_on(self.preset)),
            unconverted=in_sqlite(self.file, self.tables, self.preset, (*there, *whole)),
        )


def _lacking(there: Sequence[SourceTable], preset: Preset) -> tuple[str, ...]:
    found = {table.compartment for table in there}
    names = [name for name in (*preset.metadata, *preset.compartments) if name not in found]
    return (f"there is no table of {', '.join(names)}",) if names else ()
