"""Which preset a plate is converted by: the one that is given, or the one that its files and tables show."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cytotable_dagster.core.errors import PresetError, SourceFormatError, SourceNotFoundError
from cytotable_dagster.core.model.preset_file import given_preset
from cytotable_dagster.core.model.presets import CSV_PRESET, FLAT_CSV_PRESET, NPZ_PRESET, USUAL, Preset, preset_named
from cytotable_dagster.core.model.types import Source
from cytotable_dagster.core.sources.csv.dialect import UTF8, CsvFormat
from cytotable_dagster.core.sources.csv.exports import csv_preset, database_preset, names_in
from cytotable_dagster.core.sources.csv.names import may_be_table, named_tables
from cytotable_dagster.core.sources.csv.setup import preset_of, setups_below
from cytotable_dagster.core.sources.csv.side_by_side import those_side_by_side
from cytotable_dagster.core.sources.naming import KINDS, check_datatype, files_below, files_of
from cytotable_dagster.core.sources.parquet.dialect import PARQUET_PRESET, parquet_preset
from cytotable_dagster.core.sources.sqlite.catalog import check_is_sqlite, is_sqlite_file, read_tables
from cytotable_dagster.core.sources.sqlite.tables import detect_preset, fitted_preset
from cytotable_dagster.core.support.hidden import visible_files

_NAMED = 3
# What a preset says of results, and not of how its source is read.
_TAKEN = (
    *("identifying_columns", "metadata", "compartments", "base_order", "image_columns"),
    *("plate_columns", "well_columns", "site_columns"),
)


def datatype_asked(preset: Preset | None, source_datatype: str | None) -> str | None:
    """The type of source that the arguments ask for, None where they leave it open: a preset of tables may be for
    another type than theirs, see `resolved_preset`.

    Raises:
        DatatypeError: there is no such type. PresetError: the preset cannot be for it.
    """
    check_datatype(source_datatype)
    if preset is None:
        return source_datatype
    if source_datatype not in (None, preset.datatype) and (preset.flat or source_datatype == "npz"):
        raise PresetError(f"preset {preset.name} is for {preset.datatype} files, not for {source_datatype}")
    return preset.datatype if preset.flat else source_datatype


def resolved_preset(
    source: Source,
    preset: Preset | str | None,
    *,
    datatype: str | None = None,
    format: CsvFormat = UTF8,
    metadata: Iterable[str] | None = None,
    compartments: Iterable[str] | None = None,
    identifying_columns: Iterable[str] | None = None,
) -> Preset:
    """The preset that a source is converted by: the one given or named (by name, or by the path of a TOML file), or the
    one its tables show, as adjusted. One for another type of source than this gives the tables and the names of their
    columns; how they are read is what they show.

    Args:
        datatype: one of `DATATYPES`, where it is known; else the preset's, if such files are there, or what the files'
            names say.

    Raises:
        SourceFormatError, DamagedSourceError: not SQLite, or no preset fits.
        PresetError: no preset of that name, or one that cannot be so adjusted.
    """
    compartments = None if compartments is None else tuple(compartments)
    chosen = None if preset is None else given_preset(preset)
    if datatype is None and chosen is not None and (chosen.flat or _holds(source.path, chosen.datatype)):
        datatype = chosen.datatype
    datatype = datatype or datatype_of(source.path)
    if datatype == "sqlite":
        check_is_sqlite(source.path)
    tables = {}
    if datatype == "sqlite":
        tables = {name: [c.name for c in columns] for name, columns in read_tables(source.file).items()}
    if chosen is None or chosen.datatype != datatype:
        if datatype == "sqlite":
            own = detect_preset(tables, source.uri)
        else:
            own = _detected_preset(source.path, datatype, format, source.uri, compartments or ())
        chosen = own if chosen is None else _as_preset(chosen, own, source.uri)
    chosen = chosen.with_options(metadata=metadata, compartments=compartments, identifying_columns=identifying_columns)
    if datatype == "sqlite":
        return fitted_preset(chosen, tables, source.uri)
    return _adjusted_preset(source.path, chosen, format)


def datatype_of(path: Path) -> str:
    """What a plate on this machine is by the names of its files, one of `DATATYPES`."""
    if not path.is_dir():
        return next((kind for kind in KINDS if KINDS[kind].fits(path.name)), "sqlite")
    names = [name for name, _ in files_below(path)]
    if any(may_be_table(name) for name in names):
        return "csv"
    return next((kind for kind in ("npz", "parquet", "csv") if any(map(KINDS[kind].fits, names))), "sqlite")


def _holds(path: Path, datatype: str) -> bool:
    """Whether a plate on this machine has files of a type."""
    if not path.is_dir():
        return datatype_of(path) == datatype or (datatype == "sqlite" and is_sqlite_file(path))
    return datatype != "sqlite" and bool(files_of(path, datatype))


def _as_preset(preset: Preset, own: Preset, where: str) -> Preset:
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


def _detected_preset(
    path: Path, datatype: str, format: CsvFormat, where: str, compartments: Sequence[str] = ()
) -> Preset:
    """The preset of a plate of CSV, NPZ or Parquet files that nobody named one for, but perhaps some compartments.

    Raises:
        SourceFormatError: CSV files that are named for no table, and are not IN Carta's.
    """
    if datatype == "parquet":
        return PARQUET_PRESET
    if datatype == "npz":
        return preset_named(NPZ_PRESET)
    files = files_of(path, datatype)
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


def _adjusted_preset(path: Path, preset: Preset, format: CsvFormat) -> Preset:
    """The preset for these very files; see `exports.csv_preset`.

    Raises:
        PresetError: one table was to be several.
        KeyColumnError: nothing numbers the images or objects of Parquet files.
    """
    if preset.datatype == "parquet":
        return parquet_preset(path, preset)
    if preset.flat:
        if preset.metadata or len(preset.compartments) != 1:
            raise PresetError(f"preset {preset.name} has one table of objects and none of images; name one compartment")
        return preset
    return csv_preset(path, preset, format)
