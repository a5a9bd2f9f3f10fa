"""The plates that both tools convert: real files, synthetic plates, and small ones with one thing the matter."""

import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np

from cytotable_dagster.demo.plate import write_plate
from cytotable_dagster.demo.wide import write_wide_plate
from cytotable_dagster_tests.core.plates import CYTOMINER, EXPORT, JUMP, Table, plate, sites, table_name, write_sqlite
from cytotable_dagster_tests.core.sources.csv.test_in_carta import write as write_csv
from cytotable_dagster_tests.core.sources.npz.test_npz import npy, replaced
from cytotable_dagster_tests.core.sources.npz.test_npz import site as write_site

Build = Callable[[Path], Path]


def demo_plate(folder: Path) -> Path:
    """Painted, segmented, measured: a number of its own for every image, one image without cells."""
    return write_plate(folder, wells=6, sites_per_well=2, seed=1).sqlite


def demo_plate_with_nan_text(folder: Path) -> Path:
    """Two missing correlations of a FLOAT column are the text 'nan'."""
    return write_plate(folder, wells=3, sites_per_well=2, seed=1, nan_text=True).sqlite


def demo_plate_of_repeated_image_numbers(folder: Path) -> Path:
    """ImageNumber is counted anew in every well: only TableNumber tells images apart."""
    return write_plate(folder, wells=4, sites_per_well=2, seed=1, image_numbers_repeat=True).sqlite


def wide_plate(folder: Path) -> Path:
    """As wide as a real JUMP plate; some cytoplasms have no nucleus."""
    path = folder / "wide.sqlite"
    write_wide_plate(path, images=5, objects_per_image=60, seed=4)
    return path


def with_orphans(dialect: str) -> Build:
    """Cytoplasms without nucleus, without cell, and of an image that the image table lacks; an image without cells."""

    def build(folder: Path) -> Path:
        tables = _small(dialect)
        cytoplasm = tables[table_name(dialect, "Cytoplasm")]
        cytoplasm.rows[0]["Cytoplasm_Parent_Cells"] = None
        cytoplasm.rows[1]["Cytoplasm_Parent_Cells"] = 0
        del tables[table_name(dialect, "Image")].rows[2]
        return write_sqlite(folder / "orphans.sqlite", tables)

    return build


def with_mixed_types(folder: Path) -> Path:
    """Declared types that lie, each in a way of its own."""
    tables = _small(JUMP)
    cells = tables["Cells"]
    count = len(cells.rows)
    cells.add_column("Cells_Real_In_Bigint", "BIGINT", [n + 0.5 if n == 7 else n for n in range(count)])
    cells.add_column("Cells_Nan_In_Float", "FLOAT", ["nan" if n == 7 else n / 8 for n in range(count)])
    cells.add_column("Cells_Inf_In_Float", "FLOAT", ["inf" if n == 7 else n / 8 for n in range(count)])
    cells.add_column("Cells_Blank_In_Bigint", "BIGINT", ["" if n == 7 else n for n in range(count)])
    cells.add_column("Cells_Word_In_Float", "FLOAT", ["high" if n == 7 else n / 8 for n in range(count)])
    cells.add_column("Cells_Text_In_Datetime", "DATETIME", ["2021-08-23"] * count)
    return write_sqlite(folder / "mixed.sqlite", tables)


def with_mixed_types_and_varchar(folder: Path) -> Path:
    """One word in a numeric column of a table that also has a varchar(128)."""
    tables = _small(JUMP)
    count = len(tables["Cells"].rows)
    tables["Cells"].add_column("Cells_Word_In_Float", "FLOAT", ["high" if n == 7 else n / 8 for n in range(count)])
    tables["Cells"].add_column("Cells_Mask", "varchar(128)", ["mask.png"] * count)
    return write_sqlite(folder / "varchar.sqlite", tables)


def with_late_reals(folder: Path) -> Path:
    """Columns whose first five rows do not tell their type."""
    tables = _small(EXPORT)
    cells = tables["Per_Cells"]
    count = len(cells.rows)
    cells.add_column("Cells_Late_Value", "FLOAT", [None if n < 6 else n / 8 for n in range(count)])
    cells.add_column("Cells_Late_Count", "BIGINT", [None if n < 6 else n for n in range(count)])
    cells.add_column("Cells_Never_Value", "FLOAT", [None] * count)
    cells.add_column("Cells_Never_Count", "BIGINT", [None] * count)
    cells.add_column("Cells_Large_Count", "BIGINT", [2**62 + n for n in range(count)])
    return write_sqlite(folder / "late.sqlite", tables)


def with_large_reals(folder: Path) -> Path:
    """A number that a float32 cannot hold, and an infinite one."""
    tables = _small(EXPORT)
    cells = tables["Per_Cells"]
    odd = {3: 1e39, 5: float("inf")}
    cells.add_column("Cells_Large_Value", "FLOAT", [odd.get(n, n / 8) for n in range(len(cells.rows))])
    return write_sqlite(folder / "large.sqlite", tables)


def with_declared_types(folder: Path) -> Path:
    """Types that SQLite accepts and few tools expect; every value is of the type that it is declared as."""
    tables = _small(EXPORT)
    cells = tables["Per_Cells"]
    numbers = range(len(cells.rows))
    for kind in ("", "NUMERIC", "DECIMAL(10,5)", "DOUBLE PRECISION"):
        cells.add_column(f"Cells_Kind_{kind}", kind, [n / 8 for n in numbers])
    for kind in ("SMALLINT", "UNSIGNED BIG INT", "BOOLEAN"):
        cells.add_column(f"Cells_Kind_{kind}", kind, [n % 2 for n in numbers])
    for kind in ("longtext", "CLOB", "varchar(128)"):
        cells.add_column(f"Cells_Kind_{kind}", kind, [f"mask {n}.png" for n in numbers])
    cells.add_column("Cells_Kind_DATE", "DATE", [f"2021-08-{n + 1:02d}" for n in numbers])
    cells.add_column("Cells_Kind_TIMESTAMP", "TIMESTAMP", [f"2021-08-23 10:{n:02d}:00" for n in numbers])
    cells.add_column("Cells_Kind_BLOB", "BLOB", [bytes([n, 255]) for n in numbers])
    cells.add_column("Cells_Infinite", "FLOAT", [float("inf") if n == 7 else -float("inf") for n in numbers])
    cells.add_column("Cells_Whole_Reals", "FLOAT", [float(n) for n in numbers])
    return write_sqlite(folder / "declared.sqlite", tables)


def shuffled(folder: Path) -> Path:
    """Rows in any order: those of an image do not lie together."""
    return write_sqlite(folder / "shuffled.sqlite", _small(JUMP), shuffled=3)


def as_views(folder: Path) -> Path:
    """Every table is a view."""
    tables = _small(EXPORT)
    stored = {name: f"t{number}" for number, name in enumerate(tables)}
    path = write_sqlite(folder / "views.sqlite", {stored[name]: table for name, table in tables.items()})
    with closing(sqlite3.connect(path)) as link:
        for name, table in stored.items():
            link.execute(f"CREATE VIEW {name} AS SELECT * FROM {table}")
    return path


def with_more_tables(folder: Path) -> Path:
    """A table whose name contains that of a compartment."""
    tables = _small(EXPORT)
    tables["Per_FilteredCells"] = plate(EXPORT, sites(2, 1))["Per_Cells"]
    return write_sqlite(folder / "more.sqlite", tables)


def with_repeated_keys(folder: Path) -> Path:
    """An object that is there twice, as where one export was appended to itself."""
    tables = _small(JUMP)
    tables["Nuclei"].rows.append(tables["Nuclei"].rows[0])
    return write_sqlite(folder / "repeated.sqlite", tables)


def without_cells(folder: Path) -> Path:
    """A plate with a compartment less."""
    tables = _small(JUMP)
    del tables["Cells"]
    return write_sqlite(folder / "nocells.sqlite", tables)


def with_empty_cells(folder: Path) -> Path:
    """A compartment without rows."""
    tables = _small(JUMP)
    tables["Cells"].rows.clear()
    return write_sqlite(folder / "empty.sqlite", tables)


def without_image_column(column: str) -> Build:
    """An image table that lacks one of its usual columns."""

    def build(folder: Path) -> Path:
        tables = _small(JUMP)
        del tables["Image"].columns[column]
        return write_sqlite(folder / "lacking.sqlite", tables)

    return build


def all_text(folder: Path) -> Path:
    """A plate in which every column is TEXT."""
    tables = _small(JUMP)
    for table in tables.values():
        table.columns = dict.fromkeys(table.columns, "TEXT")
    return write_sqlite(folder / "text.sqlite", tables)


def npz_sites(folder: Path) -> Path:
    """Two sites of one plate; one feature is no number."""
    write_site(folder / "A01_1.npz", 5, seed=1)
    site = write_site(folder / "A02_1.npz", 4, seed=2, Metadata_Well="A02")
    replaced(site, features=npy(np.array([[0.5, 1, 2, 3]] * 3 + [[4, 5, 6, np.nan]], np.float32)))
    return folder


def differing_columns(folder: Path) -> Path:
    """Two exports of IN Carta, each with a column that the other has not."""
    write_csv(folder / "test day 0.csv", "1,C,3,1,C - 3,1,1,5.5,d0", more=",Cells Area wv3,Plate ID")
    write_csv(folder / "test day 1.csv", "1,C,3,1,C - 3,1,1,7,d1", more=",Nuclei Area wv1,Plate ID")
    return folder


def copy_of(data: Path, name: str) -> Build:
    """A real file, or folder of CSV files, where nobody minds what is written beside it."""

    def build(folder: Path) -> Path:
        if (data / name).is_dir():
            return Path(shutil.copytree(data / name, folder, ignore=shutil.ignore_patterns("*.tif", "*.png")))
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(data / name, folder))

    return build


SYNTHETIC: Mapping[str, Build] = {
    "demo": demo_plate,
    "demo nan": demo_plate_with_nan_text,
    "demo repeated": demo_plate_of_repeated_image_numbers,
    "wide": wide_plate,
    "export orphans": with_orphans(EXPORT),
    "jump orphans": with_orphans(JUMP),
    "cytominer orphans": with_orphans(CYTOMINER),
    "mixed": with_mixed_types,
    "varchar": with_mixed_types_and_varchar,
    "late": with_late_reals,
    "large": with_large_reals,
    "repeated keys": with_repeated_keys,
    "no cells": without_cells,
    "empty cells": with_empty_cells,
    "declared": with_declared_types,
    "shuffled": shuffled,
    "views": as_views,
    "more tables": with_more_tables,
    "no file names": without_image_column("FileName_OrigDNA"),
    "no row": without_image_column("Metadata_Row"),
    "text": all_text,
    "sites": npz_sites,
    "differing columns": differing_columns,
}

REAL: Mapping[str, str] = {
    "nf1": "nf1_schwann/all_cellprofiler.sqlite",
    "data_b": "cytominer_database/data_b_sqlite/data_b.sqlite",
    "examplehuman": "examplehuman",
    "data_b csv": "cytominer_database/data_b",
    "in carta": "in_carta",
    "npz": "deepprofiler",
}


def _small(dialect: str) -> dict[str, Table]:
    """A small plate, with the columns that CytoTable's join cannot do without."""
    tables = plate(dialect, sites(6, 5, 4, 0, 3))
    if dialect != EXPORT:
        for compartment in ("Cells", "Cytoplasm", "Nuclei"):
            table = tables[compartment]
            numbers = [row["ObjectNumber"] for row in table.rows]
            table.add_column(f"{compartment}_Number_Object_Number", "BIGINT", numbers)
    if dialect == JUMP:
        image = tables["Image"]
        image.add_column("Metadata_Row", "BIGINT", range(1, len(image.rows) + 1))
    return tables
