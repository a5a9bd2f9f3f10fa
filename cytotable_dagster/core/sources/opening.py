"""Plates that are CSV or NPZ files: which preset is theirs, and which tables they hold."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cytotable_dagster.core.errors import PresetError, SourceFormatError, SourceNotFoundError
from cytotable_dagster.core.model.presets import CSV_PRESET, FLAT_CSV_PRESET, NPZ_PRESET, USUAL, Preset, preset_named
from cytotable_dagster.core.sources.csv.dialect import CsvFormat
from cytotable_dagster.core.sources.csv.exports import csv_preset, database_preset, names_in
from cytotable_dagster.core.sources.csv.flat import find_flat_table, load_flat_table
from cytotable_dagster.core.sources.csv.names import may_be_table, named_tables
from cytotable_dagster.core.sources.csv.setup import preset_of, setups_below
from cytotable_dagster.core.sources.csv.side_by_side import those_side_by_side
from cytotable_dagster.core.sources.csv.survey import find_tables
from cytotable_dagster.core.sources.csv.table import csv_table_path, load_table
from cytotable_dagster.core.sources.naming import files_below, is_csv, is_npz
from cytotable_dagster.core.sources.npz.table import find_npz_table, load_npz_table, npz_table_path
from cytotable_dagster.core.sources.protocols import BatchReader, Found
from cytotable_dagster.core.sources.sqlite.catalog import is_sqlite_file
from cytotable_dagster.core.support.hidden import visible_files

# The readers whose tables are opened by `open_files_table`.
READERS = ("csv", "npz")
_NAMED = 3
# What a preset says of results, and not of how its source is read.
_TAKEN = (
    *("identifying_columns", "metadata", "compartments", "base_order", "image_columns"),
    *("plate_columns", "well_columns", "site_columns"),
)


def datatype_of(path: Path) -> str:
    """What a plate on this machine is by the names of its files: `sqlite`, `csv` or `npz`."""
    if not path.is_dir():
        return "npz" if is_npz(path.name) else "csv" if is_csv(path.name) else "sqlite"
    names = [name for name, _ in files_below(path)]
    if any(may_be_table(name) for name in names):
        return "csv"
    return "npz" if any(is_npz(name) for name in names) else "csv" if names else "sqlite"


def holds(path: Path, datatype: str) -> bool:
    """Whether a plate on this machine has files of a type."""
    if not path.is_dir():
        return datatype_of(path) == datatype or (datatype == "sqlite" and is_sqlite_file(path))
    fits = {"csv": is_csv, "npz": is_npz}.get(datatype)
    return fits is not None and any(fits(name) for name, _ in files_below(path))


def as_preset(preset: Preset, own: Preset, where: str) -> Preset:
    """A preset for a source of another type, of which `own` is: read as `own` says, with the tables wanted and columns
    named as `preset` says.

    Raises:
        PresetError: one of them is of one table.
    """
    if preset.flat or own.flat:
        raise PresetError(f"{where}: its files are those of preset {own.name}, and {preset.name} does not fit them")
    taken = {name: getattr(preset, name) for name in _TAKEN}
    if own.table_number is not None and own.table_number not in preset.identifying_columns:
        # Without it images of several exports could not be told apart.
        taken["identifying_columns"] = (own.table_number, *preset.identifying_columns)
    return replace(own, name=f"{preset.name} (as {own.name})", **taken)


def detected_preset(
    path: Path, datatype: str, format: CsvFormat, where: str, compartments: Sequence[str] = ()
) -> Preset:
    """The preset of a plate of CSV or NPZ files that nobody named one for, but perhaps some compartments.

    Raises:
        SourceFormatError: CSV files that are named for no table, and are not IN Carta's.
    """
    if datatype == "npz":
        return preset_named(NPZ_PRESET)
    files = _files(path, datatype)
    names = [name for name, _ in files]
    if path.is_dir() and (setups := setups_below(path, visible_files(path))):
        return preset_of(next(iter(setups.values())), where)
    first = next((name.rpartition("/")[0] for name in names if may_be_table(name)), None)
    if first is not None:
        # What is odd in its names is told where those of all folders are looked at.
        with suppress(SourceFormatError):
            named = named_tables((name for name in names if name.rpartition("/")[0] == first), USUAL, where)
            own = {table: path / name if path.is_dir() else path for table, name in named.get(first, {}).items()}
            return database_preset(own, format) or preset_named(CSV_PRESET)
        return preset_named(CSV_PRESET)
    if named_tables(names, compartments, where):
        return preset_named(CSV_PRESET)
    flat = preset_named(FLAT_CSV_PRESET)
    for name, file in files:
        if file.stat().st_size:
            columns = names_in(file, format)
            if flat.object_number in columns:
                return flat
            if those_side_by_side([path for _, path in files], format, preset_named(CSV_PRESET).image_number):
                return preset_named(CSV_PRESET)
            tables = ", ".join(f"{table}.csv" for table in USUAL)
            raise SourceFormatError(
                f"{where}: its CSV files are of no preset: they are not named for tables ({tables}), and {name} has no "
                f"column {flat.object_number} (it starts with {', '.join(columns[:_NAMED])}); name one with preset="
            )
    raise SourceNotFoundError(f"{where}: no CSV files with anything in them")


def adjusted_preset(path: Path, preset: Preset, format: CsvFormat) -> Preset:
    """The preset for these very files; see `exports.csv_preset`.

    Raises:
        PresetError: one table was to be several.
    """
    if preset.flat:
        if preset.metadata or len(preset.compartments) != 1:
            raise PresetError(f"preset {preset.name} has one table of objects and none of images; name one compartment")
        return preset
    return csv_preset(path, preset, format)


def find_files_tables(path: Path, preset: Preset, format: CsvFormat, folder: Path, asked: Sequence[str] = ()) -> Found:
    """The tables of a plate of CSV or NPZ files, by their headers; see `csv_survey.find_tables`."""
    if not preset.flat:
        return find_tables(path, preset, format, folder, asked)
    files = _files(path, preset.datatype)
    if preset.datatype == "npz":
        return find_npz_table(path, files, preset, folder)
    return find_flat_table(path, files, preset, format, folder)


def open_files_table(folder: Path, compartment: str, preset: Preset) -> BatchReader:
    """A table that `find_files_tables` found, once it was looked through."""
    if preset.datatype == "npz":
        return load_npz_table(npz_table_path(folder, compartment))
    if preset.flat:
        return load_flat_table(folder, compartment, preset)
    return load_table(csv_table_path(folder, compartment))


def _files(path: Path, datatype: str) -> Sequence[tuple[str, Path]]:
    """Those of a plate's files that are of a type: names as of its folder, and paths."""
    if not path.is_dir():
        return [(path.name, path)]
    fits = is_npz if datatype == "npz" else is_csv
    return [(name, file) for name, file in files_below(path) if fits(name)]
