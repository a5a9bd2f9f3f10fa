"""How the tables in Parquet files call their keys: as CellProfiler does, or as results do."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cytotable_dagster.core.errors import KeyColumnError, SourceNotFoundError
from cytotable_dagster.core.model.names import OBJECT_NUMBER
from cytotable_dagster.core.model.presets import BASE_ORDER, IMAGE, PRESETS, TABLE_NUMBER, Preset
from cytotable_dagster.core.model.types import SINGLE_CELLS
from cytotable_dagster.core.sources.parquet.file import columns_of
from cytotable_dagster.core.sources.parquet.names import tables_in

# What tables of CellProfiler are called, and their columns in the results.
PARQUET_PRESET = replace(PRESETS["cellprofiler_csv"], name="parquet", datatype="parquet")
NAMED_TABLE_NUMBER = f"Metadata_{TABLE_NUMBER}"

_NAMED_IMAGE = "Metadata_ImageNumber"
_OBJECTS = ("ObjectNumber", "{compartment}_Number_Object_Number", "{compartment}_ObjectNumber")
_NAMED_OBJECTS = (
    *("{compartment}_Number_Object_Number", "{compartment}_ObjectNumber"),
    *("Metadata_{compartment}_Number_Object_Number", "Metadata_{compartment}_ObjectNumber", OBJECT_NUMBER),
)
_PARENTS = ("Parent_{partner}", "{compartment}_Parent_{partner}", "Metadata_{compartment}_Parent_{partner}")
# In a joined table those of the objects that it has a row for, and of the image's columns.
_JOINED_OBJECTS = tuple(dict.fromkeys(name.format(compartment=base) for base in BASE_ORDER for name in _NAMED_OBJECTS))


def tables_at(root: Path, preset: Preset) -> tuple[Mapping[str, Sequence[Path]], Sequence[str]]:
    """The files of each compartment of a plate, and the names of those that are of none."""
    found, others = tables_in(root, () if preset.flat else (*preset.metadata, *preset.compartments))
    (joined,) = preset.compartments if preset.flat else (SINGLE_CELLS,)
    paths = {
        joined if table == SINGLE_CELLS else table: [root / name if root.is_dir() else root for name in files]
        for table, files in found.items()
    }
    return paths, others


def parquet_preset(root: Path, preset: Preset) -> Preset:
    """The preset for these very files, by the names of their columns.

    Raises:
        SourceNotFoundError: no file is one of its tables.
        KeyColumnError: nothing numbers images or objects.
        SourceFormatError: a file is no Parquet file.
    """
    wanted = (*preset.metadata, *preset.compartments)
    found, _ = tables_in(root, wanted)
    if not found:
        raise SourceNotFoundError(f"{root}: no Parquet files are named for tables ({', '.join(wanted)})")
    columns = {table: _in_first(root, files, table) for table, files in found.items()}
    named = all(_NAMED_IMAGE in names for names in columns.values())
    if named:
        preset = replace(preset, named=True, image_number=_NAMED_IMAGE)
    if SINGLE_CELLS in columns:
        return _joined(root, preset, columns[SINGLE_CELLS])
    number = NAMED_TABLE_NUMBER if named else TABLE_NUMBER
    if all(number in names for names in columns.values()):
        identifying = (*preset.identifying_columns, *(() if named else (TABLE_NUMBER,)))
        preset = replace(preset, table_number=number, identifying_columns=identifying)
    objects = {table: names for table, names in columns.items() if table != IMAGE}
    candidates = _NAMED_OBJECTS if named else _OBJECTS
    return replace(
        preset,
        object_number=_fitting(candidates, objects) or candidates[0],
        parent=_parent(preset, objects),
    )


def _joined(root: Path, preset: Preset, columns: Iterable[str]) -> Preset:
    there = set(columns)
    number = next((name for name in _JOINED_OBJECTS if name in there), None)
    if number is None or preset.image_number not in there:
        what = "objects" if preset.image_number in there else "images"
        raise KeyColumnError(
            f"{root}: no column numbers its {what}; a joined table needs {_NAMED_IMAGE} and {OBJECT_NUMBER}"
        )
    return replace(
        preset,
        table="*.parquet",
        object_number=number,
        table_number=NAMED_TABLE_NUMBER if NAMED_TABLE_NUMBER in there else None,
        metadata=(),
        compartments=("Cells",),
        plate_columns=(*preset.plate_columns, "Image_Metadata_Plate"),
        well_columns=(*preset.well_columns, "Image_Metadata_Well"),
        site_columns=(*preset.site_columns, "Image_Metadata_Site"),
    )


def _in_first(root: Path, files: Sequence[str], table: str) -> tuple[str, ...]:
    return tuple(as_named(columns_of(root / files[0] if root.is_dir() else root), table).values())


def as_named(columns: Iterable[str], table: str) -> dict[str, str]:
    """What a table's columns go by here: as they are, but for CytoTable's `Cells_TableNumber`, which is the table's
    TableNumber where none other is."""
    names = {name: name for name in columns}
    if _NAMED_IMAGE in names and NAMED_TABLE_NUMBER not in names:
        of = (*BASE_ORDER, IMAGE) if table == SINGLE_CELLS else (table,)
        own = next((name for base in of if (name := f"{base}_{TABLE_NUMBER}") in names), None)
        names |= {} if own is None else {own: NAMED_TABLE_NUMBER}
    return names


def _fitting(candidates: Iterable[str], objects: Mapping[str, Iterable[str]]) -> str | None:
    """The first that every table of objects has a column by."""
    return next(
        (
            name
            for name in candidates
            if all(name.format(compartment=table) in columns for table, columns in objects.items())
        ),
        None,
    )


def _parent(preset: Preset, objects: Mapping[str, Iterable[str]]) -> str:
    """What columns with the numbers of parents are called; as the preset says where there are none."""
    for name in _PARENTS:
        fitting = replace(preset, parent=name)
        if any(set(fitting.parents_of(table).values()) & set(columns) for table, columns in objects.items()):
            return name
    return preset.parent
