"""The joined table of every preset, of small plates with all that a client might take for what it is not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cytotable_dagster import convert
from cytotable_dagster_tests.core.plates import (
    CYTOMINER,
    DIALECTS,
    EXPORT,
    JUMP,
    OBJECTS,
    Table,
    plate,
    sites,
    table_name,
    write_sqlite,
)
from cytotable_dagster_tests.core.sources.csv.test_in_carta import HEAD
from cytotable_dagster_tests.core.sources.csv.test_in_carta import write as write_csv
from cytotable_dagster_tests.core.sources.npz.test_npz import site as write_npz

PYCYTOMINER = "cellprofiler_sqlite_pycytominer"
# Cells of the four wells of each plate.
CELLS = (6, 5, 7, 6)
MEASURED = tuple(
    f"{name}_{what}" for name in OBJECTS for what in ("AreaShape_Area", "Intensity_Mean", "Children_X_Count")
)


@dataclass(frozen=True)
class Case:
    """How a plate is made in a folder, by which preset it is converted, and which columns of it are measurements."""

    build: Callable[[Path], Path]
    preset: str
    measured: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def joined(self, folder: Path) -> Path:
        """The joined table, made in a folder."""
        convert(self.build(folder / "source"), folder / "joined.parquet", preset=self.preset, **self.options)
        return folder / "joined.parquet"


def tables_of(dialect: str) -> dict[str, Table]:
    """A plate in whose object tables measurements stand among names, numbers, metadata and crops of cells."""
    tables = plate(dialect, sites(*CELLS))
    for compartment in OBJECTS:
        table = tables[table_name(dialect, compartment)]
        numbers = range(len(table.rows))
        if f"{compartment}_Number_Object_Number" not in table.columns:
            table.add_column(f"{compartment}_Number_Object_Number", "BIGINT", numbers)
        table.add_column(f"{compartment}_Children_X_Count", "BIGINT", [number % 3 for number in numbers])
        table.add_column(f"{compartment}_FileName_DNA", "TEXT", [f"{number}.tif" for number in numbers])
        table.add_column(f"{compartment}_PathName_DNA", "TEXT", ["/data" for _ in numbers])
        table.add_column(f"{compartment}_Metadata_Treatment", "TEXT", ["DMSO" for _ in numbers])
        table.add_column(f"{compartment}_Metadata_Dose", "FLOAT", [number / 2 for number in numbers])
        table.add_column(f"{compartment}_Parent_Tissue", "BIGINT", [1 for _ in numbers])
        table.add_column(f"{compartment}_Neighbors_FirstClosestObjectNumber_5", "BIGINT", numbers)
        table.add_column(f"{compartment}_Crop", "BLOB", [b"\xff" for _ in numbers])
        table.add_column(f"{compartment}_Class", "TEXT", ["round" for _ in numbers])
    return tables


def _sqlite(dialect: str) -> Callable[[Path], Path]:
    return lambda folder: write_sqlite(folder / "P1.sqlite", tables_of(dialect))


def _several(dialect: str) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        for name in ("A", "B"):
            write_sqlite(folder / f"{name}.sqlite", tables_of(dialect))
        return folder

    return build


def _csv(folder: Path) -> Path:
    """Tables of one export, as CellProfiler writes them: metadata in every one."""
    return _write_csv(folder / "P1", tables_of(JUMP), plate_column="Metadata_Plate")


def _csv_of_sites(folder: Path) -> Path:
    """An export for each site, plate and well under other names."""
    for number, well in enumerate(("A01", "A02")):
        tables = plate(JUMP, sites(5 + number))
        for table in tables.values():
            table.rows = [{**row, "Metadata_Well": well} for row in table.rows]
        _write_csv(folder / "P1" / f"P1-{well}-1", tables, plate_column="Metadata_Barcode")
    return folder / "P1"


def _write_csv(folder: Path, tables: Mapping[str, Table], plate_column: str) -> Path:
    folder.mkdir(parents=True)
    for name, table in tables.items():
        columns = [column for column in table.columns if column != "TableNumber" and not column.endswith("_Crop")]
        heads = [
            column.removeprefix(f"{name}_") if "Number_Object" not in column else "Number_Object_Number"
            for column in columns
        ]
        heads = [plate_column if head == "Metadata_Plate" else head for head in heads]
        lines = [
            ",".join("" if row.get(column) is None else str(row[column]) for column in columns) for row in table.rows
        ]
        (folder / f"{name}.csv").write_text("\n".join([",".join(heads), *lines]) + "\n")
    return folder


def _in_carta(folder: Path) -> Path:
    rows = [
        f'{number},"C",{column},{site},"C - {column}",1,1,{column + number / 3},{number % column},red,Yes,0,Plate 7'
        for column in (3, 4)
        for site in (1, 2)
        for number in range(1, 5)
    ]
    more = ",Cells Area wv3,Nuclei Count wv1,Class Name,Slice Indicator,Acquisition Time Stamp,Plate ID"
    write_csv(folder / "a.csv", *rows, more=more, head=HEAD)
    return folder


def _npz(folder: Path) -> Path:
    for number, well in enumerate(("A01", "A02", "B01")):
        write_npz(
            folder / f"{well}.npz", 5, seed=number, Metadata_Well=well, Concentration=number / 2, Treatment="DMSO"
        )
    return folder


NPZ_MEASURED = ("Cells_Location_Center_X", "Cells_Location_Center_Y", *(f"Cells_efficientnet_{n}" for n in range(1, 5)))
CSV_MEASURED = tuple(name for name in MEASURED if "Children" not in name)

CASES: Mapping[str, Case] = {
    **{dialect: Case(_sqlite(dialect), dialect, MEASURED) for dialect in DIALECTS},
    PYCYTOMINER: Case(_sqlite(EXPORT), PYCYTOMINER, MEASURED),
    **{f"several of {dialect}": Case(_several(dialect), dialect, MEASURED) for dialect in DIALECTS},
    f"{CYTOMINER} without unmatched": Case(_sqlite(CYTOMINER), CYTOMINER, MEASURED, {"unmatched": "drop"}),
    "csv": Case(_csv, "cellprofiler_csv", MEASURED),
    "csv of sites": Case(_csv_of_sites, "cellprofiler_csv", CSV_MEASURED),
    "in carta": Case(_in_carta, "in-carta", ("Cells_Cells Area wv3", "Cells_Nuclei Count wv1")),
    "npz": Case(_npz, "deepprofiler", NPZ_MEASURED),
}
# Real files: the preset, and what their cells can be grouped by where they say no well.
REAL: Mapping[str, tuple[str, tuple[str, ...] | None]] = {
    "nf1_schwann/all_cellprofiler.sqlite": (EXPORT, None),
    "cytominer_database/data_b_sqlite/data_b.sqlite": (JUMP, None),
    "jump_br00126114/test_BR00126114.sqlite": (JUMP, None),
    "cytominer_database/data_b": ("cellprofiler_csv", None),
    "examplehuman": ("cellprofiler_csv", ("Metadata_Plate",)),
    "in_carta": ("in-carta", None),
    "deepprofiler": ("deepprofiler", None),
}
