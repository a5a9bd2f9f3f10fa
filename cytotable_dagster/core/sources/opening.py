"""The one door to plates: their tables by columns, and each of them opened, whatever kind of source a plate is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.model.types import Source, SourceColumn, SourceTable
from cytotable_dagster.core.sources.csv.dialect import CsvFormat
from cytotable_dagster.core.sources.csv.flat import find_flat_table, load_flat_table
from cytotable_dagster.core.sources.csv.table import csv_table_path, load_table
from cytotable_dagster.core.sources.csv.tables import find_tables
from cytotable_dagster.core.sources.naming import files_of
from cytotable_dagster.core.sources.npz.table import find_npz_table, load_npz_table, npz_table_path
from cytotable_dagster.core.sources.parquet.survey import find_parquet_tables
from cytotable_dagster.core.sources.parquet.table import load_parquet_table, parquet_table_path
from cytotable_dagster.core.sources.protocols import BatchReader, FilesReader, Found, OpenPlate, TableReader, Told
from cytotable_dagster.core.sources.sqlite.plate import open_sqlite_plate
from cytotable_dagster.core.sources.sqlite.reader import copy_of, open_copy, open_pages
from cytotable_dagster.core.sources.state import by_address


def open_plate(
    source: Source, preset: Preset, format: CsvFormat, folder: Path, copies: Path, asked: Sequence[str] = ()
) -> OpenPlate:
    """A plate's tables, by their columns; none of them is looked through.

    Args:
        folder: the plan's, for what the conversion reads again.
        copies: where tables of SQLite that are out of the ordinary are copied to; may not exist yet.
        asked: kinds of tables that are taken whole, see `unconverted`.

    Raises:
        SourceFormatError, DamagedSourceError: not what the preset is for.
        OptionError: a pattern of sites, where there are none.
    """
    if format.site_pattern is not None and (preset.flat or preset.datatype != "csv"):
        raise OptionError(f"{source.uri}: site_pattern= is for folders of CSV files that are named for tables")
    if preset.datatype == "sqlite":
        return open_sqlite_plate(source, preset, copies)
    return _FilesPlate(source, _found(source.path, preset, format, folder, asked))


def open_again(
    source: Source, preset: Preset, folder: Path, copies: Path, table: SourceTable, reader: str, reason: str
) -> BatchReader:
    """A table that was looked through, by the reader that it had then and why it had that one."""
    if preset.datatype == "npz":
        return load_npz_table(npz_table_path(folder, table.compartment))
    if preset.datatype == "parquet":
        return load_parquet_table(parquet_table_path(folder, table.compartment))
    if preset.datatype == "csv":
        if preset.flat:
            return load_flat_table(folder, table.compartment, preset)
        return load_table(csv_table_path(folder, table.compartment))
    keys = preset.keys_of(table.compartment)
    return open_copy(table, keys, copies, reason) if reader == "copy" else open_pages(source.file, table, keys)


def copy_again(source: Source, table: SourceTable, copies: Path, reader: str) -> None:
    """Make what `open_again` reads a table from in another folder, if `reader` reads a copy."""
    if reader == "copy":
        copy_of(source.file, table, copies)


@dataclass(frozen=True)
class _FilesPlate:
    """A plate of CSV, NPZ or Parquet files; see `OpenPlate`."""

    source: Source
    found: Found

    keeps_beside = True

    @property
    def tables(self) -> Mapping[str, tuple[SourceColumn, ...]]:
        return {name: table.columns for name, table in self.found.tables.items()}

    @property
    def others(self) -> Mapping[str, SourceTable]:
        return {kind: SourceTable(kind, kind, table.columns) for kind, table in self.found.others.items()}

    def open(self, table: SourceTable, keys: Sequence[str]) -> TableReader:
        others: Mapping[str, FilesReader] = self.found.others
        return others[table.name] if table.name in others else self.found.tables[table.name]

    def told(self, there: Sequence[SourceTable], whole: Sequence[SourceTable]) -> Told:
        found = self.found
        notes = tuple(by_address(self.source, note) for note in found.all_notes())
        skipped = tuple((by_address(self.source, file), reason) for file, reason in found.all_skipped())
        return Told(notes, skipped, found.skipped_rows(), found.unconverted)


def _found(path: Path, preset: Preset, format: CsvFormat, folder: Path, asked: Sequence[str]) -> Found:
    if preset.datatype == "npz":
        return find_npz_table(path, files_of(path, preset.datatype), preset, folder)
    if preset.datatype == "parquet":
        return find_parquet_tables(path, preset, folder)
    if preset.flat:
        return find_flat_table(path, files_of(path, preset.datatype), preset, format, folder)
    return find_tables(path, preset, format, folder, asked)
