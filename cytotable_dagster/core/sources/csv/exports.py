"""CSV files that CellProfiler's ExportToSpreadsheet wrote: of one plate in one go, or of each site alone.

A folder that holds files named for tables (`Cells.csv`, `MyExpt_Cells.csv`, `Cells.csv.gz`) is an export.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cytotable_dagster.core.errors import SourceNotFoundError
from cytotable_dagster.core.model.presets import CSV_PRESET, DEFAULT, IMAGE, PRESETS, TABLE_NUMBER, USUAL, Preset
from cytotable_dagster.core.sources.csv.dialect import UTF8, CsvFormat
from cytotable_dagster.core.sources.csv.header import plain_file, read_header
from cytotable_dagster.core.sources.csv.names import ENDING, OBJECT, is_table_file, named_tables, object_names
from cytotable_dagster.core.sources.csv.setup import Declared, setups_below
from cytotable_dagster.core.sources.csv.side_by_side import those_side_by_side
from cytotable_dagster.core.sources.sqlite.tables import SHARED_NUMBER, objects_in
from cytotable_dagster.core.support.hidden import visible_files
from cytotable_dagster.core.support.leftovers import temporary_folder

# Exports of which the first with anything in its files shows what those of the plate are like.
_LOOKED = 10


@dataclass(frozen=True)
class Export:
    """One folder of CSV files: its path below the plate's (`.` for that itself), each table's file, and those that hold
    several tables side by side; and tables whose files have no headers, as a `SETUP.SQL` declares them."""

    name: str
    files: Mapping[str, Path]
    side_by_side: tuple[Path, ...] = ()
    declared: Mapping[str, Declared] = field(default_factory=dict)

    def label(self, table: str) -> str:
        """How the file of a table is told of, below the plate's folder."""
        file = self.files.get(table)
        name = file.name if file else f"{table}.csv"
        return name if self.name == "." else f"{self.name}/{name}"


def taken_by_prefix(exports: Sequence[Export], preset: Preset) -> tuple[str, ...]:
    """What is to be told of a prefix that no image table bears out: Green_Cells.csv may be of other objects."""
    if any(table in export.files for export in exports for table in preset.metadata):
        return ()
    files = {table: file.name for export in exports for table, file in export.files.items()}
    found = next(((table, name) for table, name in files.items() if not name.lower().startswith(table.lower())), None)
    if preset.flat or found is None:
        return ()
    table, name = found
    own = ENDING.sub("", name)
    return (f'{name} is taken for {table}; if its objects are others, compartments=["{own}"] says so',)


def exports_in(root: Path, preset: Preset, format: CsvFormat = UTF8) -> tuple[Export, ...]:
    """The exports in a folder and all below it, by name; see `exports_and_others`."""
    return exports_and_others(root, preset, format)[0]


def exports_and_others(
    root: Path, preset: Preset, format: CsvFormat = UTF8
) -> tuple[tuple[Export, ...], tuple[str, ...]]:
    """The exports in a folder and all below it, by name, or the one that is a single file; and the CSV files that are
    no table of one, as of the folder.

    Raises:
        SourceNotFoundError: there is none.
        SourceFormatError: two files of one folder are for one table; see `names.named_tables`.
    """
    tables = (*preset.metadata, *preset.compartments)
    names = list(_names(root))
    if setups := setups_below(root, names):
        return _declared(root, setups, names, preset)
    found = named_tables(names, tables, str(root))
    several = _side_by_side(root, names, found, preset, format)
    if not found and not several:
        raise SourceNotFoundError(
            f"{root}: no CSV files named for tables ({', '.join(f'{table}.csv' for table in tables)}) in it or below"
        )
    by_folder = {name: folder for folder, names in _by_folder(several).items() for name in names}
    exports = (
        Export(
            folder or ".",
            {table: _path(root, file) for table, file in found.get(folder, {}).items() if file not in several},
            tuple(_path(root, file) for file in several if by_folder[file] == folder),
        )
        for folder in {**found, **dict.fromkeys(by_folder.values())}
    )
    used = {*several, *(file for files in found.values() for file in files.values())}
    others = sorted(name for name in names if name not in used and ENDING.search(name))
    return tuple(sorted(exports, key=lambda export: export.name)), tuple(others)


def _declared(
    root: Path, setups: Mapping[str, Mapping[str, Declared]], names: Sequence[str], preset: Preset
) -> tuple[tuple[Export, ...], tuple[str, ...]]:
    """The exports that were written for MySQL, as `exports_and_others` has them."""
    exports = []
    for folder, tables in sorted(setups.items()):
        called = {name.lower(): table for name, table in tables.items()}
        wanted = (*preset.metadata, *preset.compartments)
        own = {name: called[name.lower()] for name in wanted if name.lower() in called}
        if own:
            exports.append(Export(folder or ".", {name: table.files[0] for name, table in own.items()}, declared=own))
    used = {file for export in exports for table in export.declared.values() for file in table.files}
    others = (name for name in names if ENDING.search(name) and root / name not in used)
    return tuple(exports), tuple(sorted(others))


def _side_by_side(
    root: Path, names: Sequence[str], found: Mapping[str, Mapping[str, str]], preset: Preset, format: CsvFormat
) -> tuple[str, ...]:
    """The files that hold the objects of several compartments, whatever they are called. Exports of a plate are alike,
    so that all are looked at only where the first of those with anything in their files has one."""
    claimed = {name: table for own in found.values() for table, name in own.items()}
    free = _by_folder(name for name in names if is_table_file(name) and name not in claimed)

    def candidates(folder: str) -> list[str]:
        own = found.get(folder, {})
        objects = [name for table, name in own.items() if table not in (IMAGE, OBJECT)]
        return objects if set(preset.compartments) <= own.keys() else [*objects, *sorted(free.get(folder, ()))]

    def those(files: Iterable[str]) -> tuple[str, ...]:
        paths = {_path(root, name): name for name in files}
        return tuple(paths[path] for path in those_side_by_side(paths, format, preset.image_number))

    folders = sorted(found or free)
    filled = next((f for f in folders[:_LOOKED] if any(_path(root, name).stat().st_size for name in candidates(f))), "")
    if not those(candidates(filled)):
        return ()
    return tuple(sorted(those(name for folder in {*found, *free} for name in candidates(folder))))


def _by_folder(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.rpartition("/")[0], []).append(name)
    return found


def _path(root: Path, name: str) -> Path:
    return root / name if root.is_dir() else root


def _names(root: Path) -> Iterable[str]:
    """The files of a plate, which may be but one."""
    return visible_files(root) if root.is_dir() else (root.name,)


def csv_preset(root: Path, preset: Preset | None = None, format: CsvFormat = UTF8) -> Preset:
    """The preset for the CSV files in a folder: sites that were exported each alone repeat their ImageNumbers, and a
    TableNumber tells them apart; so does one that all files of an export have."""
    preset = preset or PRESETS[CSV_PRESET]
    tables = (*preset.metadata, *preset.compartments)
    setups = setups_below(root, _names(root))
    if setups:
        preset = preset.named_as(name for own in setups.values() for name in own)
    elif set(tables) - set(USUAL):
        preset = preset.named_as(object_names(_names(root), tables, str(root)).values())
    if preset.table_number is not None:
        return preset
    exports = exports_in(root, preset, format)
    filled = [file for file in exports[0].files.values() if file.stat().st_size]
    if len(exports) > 1 or (
        filled and all(TABLE_NUMBER in names_in(file, format) for file in filled) and not exports[0].side_by_side
    ):
        identifying = (*preset.identifying_columns, TABLE_NUMBER)
        return replace(preset, table_number=TABLE_NUMBER, identifying_columns=identifying)
    return preset


def database_preset(names: Mapping[str, Path], format: CsvFormat) -> Preset | None:
    """The preset of an export whose files, by table, have the columns of ExportToDatabase: its tables, written out as
    CSV; None where they have not."""
    for table, file in names.items():
        if table == IMAGE or not file.stat().st_size:
            continue
        columns = names_in(file, format)
        key = DEFAULT.object_number_of(table)
        if key in columns and PRESETS[CSV_PRESET].object_number not in columns:
            return replace(DEFAULT, datatype="csv", table="{compartment}")
        objects = objects_in(columns) if table == OBJECT else ()
        if objects:
            own = all(DEFAULT.object_number_of(name) in columns for name in objects)
            number = DEFAULT.object_number if own else SHARED_NUMBER
            return replace(DEFAULT, datatype="csv", table="{compartment}", object_number=number)
        return None
    return None


def names_in(file: Path, format: CsvFormat) -> tuple[str, ...]:
    """The columns of a CSV file."""
    with temporary_folder("header") as scratch:
        return read_header(plain_file(file, scratch), format, str(file)).names
