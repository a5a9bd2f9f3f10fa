"""Small SQLite plates of every dialect, made to order.

A plate is a dict of tables by name; a test changes columns and rows as it likes before `write_sqlite`. What the tools
really write is in the tests that need `shared/data`; here are the shapes that matter, a few columns wide.
"""

import random
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXPORT = "cellprofiler_sqlite"
JUMP = "cellprofiler_sqlite_cpg0016_jump"
CYTOMINER = "cell-health-cellprofiler-to-cytominer-database"
DIALECTS = (EXPORT, JUMP, CYTOMINER)

OBJECTS = ("Cells", "Cytoplasm", "Nuclei")


@dataclass
class Table:
    """A table to be written: declared types by column, and rows in file order; a key missing in a row is NULL."""

    columns: dict[str, str]
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add_column(self, name: str, declared: str, values: Iterable[Any]) -> "Table":
        """A column with one value a row, in file order."""
        self.columns[name] = declared
        for row, value in zip(self.rows, values, strict=True):
            row[name] = value
        return self


@dataclass(frozen=True)
class Site:
    """One image of a plate: its key and how many cells are on it."""

    table: int | str
    image: int
    cells: int


def sites(*cells: int, table: int | str | None = None) -> tuple[Site, ...]:
    """Images numbered from 1, each with so many cells, in one export or each with a TableNumber of its own."""
    return tuple(Site(table if table is not None else 1000 + n, n, count) for n, count in enumerate(cells, start=1))


def plate(dialect: str, images: Sequence[Site] = sites(3, 2)) -> dict[str, Table]:
    """The four tables of a plate.

    Nuclei are numbered against the order of cells, so that a join by position would be wrong; every third cytoplasm of
    an image has a nucleus that is not there, and every image has a nucleus that no cytoplasm names.
    """
    tables = {table_name(dialect, "Image"): _image_table(dialect, images)}
    for compartment in OBJECTS:
        tables[table_name(dialect, compartment)] = _object_table(dialect, compartment, images)
    return tables


def table_name(dialect: str, compartment: str) -> str:
    return f"Per_{compartment}" if dialect == EXPORT else compartment


def object_column(dialect: str, compartment: str) -> str:
    return f"{compartment}_Number_Object_Number" if dialect == EXPORT else "ObjectNumber"


def write_sqlite(
    path: Path,
    tables: Mapping[str, Table],
    *,
    shuffled: int | None = None,
    as_views: bool = False,
    pragmas: Sequence[str] = (),
) -> Path:
    """Write tables as a SQLite file.

    Args:
        shuffled: a seed to put the rows of every table in any order.
        as_views: the names are views over tables called otherwise, which no page reader can read.
        pragmas: run first, such as "page_size=512", 'encoding="UTF-16"'.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    link = sqlite3.connect(path)
    with link:
        for pragma in pragmas:
            link.execute(f"PRAGMA {pragma}")
        for name, table in tables.items():
            stored = f"{name} stored" if as_views else name
            columns = ", ".join(f"{quoted(column)} {declared}" for column, declared in table.columns.items())
            link.execute(f"CREATE TABLE {quoted(stored)} ({columns})")
            rows = [[row.get(column) for column in table.columns] for row in table.rows]
            if shuffled is not None:
                random.Random(shuffled).shuffle(rows)
            for row in rows:
                link.execute(f"INSERT INTO {quoted(stored)} VALUES ({', '.join('?' * len(row))})", row)
            if as_views:
                link.execute(f"CREATE VIEW {quoted(name)} AS SELECT * FROM {quoted(stored)}")
    link.close()
    return path


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _key_columns(dialect: str) -> dict[str, str]:
    if dialect == EXPORT:
        return {"ImageNumber": "INTEGER"}
    return {"TableNumber": "TEXT" if dialect == CYTOMINER else "BIGINT", "ImageNumber": "BIGINT"}


def _keys(dialect: str, site: Site) -> dict[str, Any]:
    keys = {"ImageNumber": site.image}
    if dialect == JUMP:
        keys["TableNumber"] = site.table
    if dialect == CYTOMINER:
        keys["TableNumber"] = str(site.table)
    return keys


def _image_table(dialect: str, images: Sequence[Site]) -> Table:
    prefix = "" if dialect == JUMP else "Image_"
    table = Table(
        {
            **_key_columns(dialect),
            f"{prefix}Metadata_Plate": "varchar(10)",
            f"{prefix}Metadata_Well": "TEXT",
            f"{prefix}Metadata_Site": "BIGINT",
            f"{prefix}FileName_OrigDNA": "varchar(128)",
            f"{prefix}MD5Digest_OrigDNA": "TEXT",
            f"{prefix}Count_Cells": "FLOAT",
        }
    )
    for number, site in enumerate(images, start=1):
        table.rows.append(
            {
                **_keys(dialect, site),
                f"{prefix}Metadata_Plate": "P1",
                f"{prefix}Metadata_Well": f"A{number:02d}",
                f"{prefix}Metadata_Site": number,
                f"{prefix}FileName_OrigDNA": f"{site.table}-{site.image}.tiff",
                f"{prefix}MD5Digest_OrigDNA": f"{number:032x}",
                f"{prefix}Count_Cells": float(site.cells),
            }
        )
    return table


def _object_table(dialect: str, compartment: str, images: Sequence[Site]) -> Table:
    key = object_column(dialect, compartment)
    table = Table(
        {
            **_key_columns(dialect),
            key: "BIGINT",
            f"{compartment}_AreaShape_Area": "BIGINT",
            f"{compartment}_Intensity_Mean": "FLOAT",
        }
    )
    if compartment == "Cytoplasm":
        table.columns |= {"Cytoplasm_Parent_Cells": "BIGINT", "Cytoplasm_Parent_Nuclei": "BIGINT"}
    for number, site in enumerate(images, start=1):
        count = site.cells + (compartment == "Nuclei" and site.cells > 0)
        for obj in range(1, count + 1):
            row = {
                **_keys(dialect, site),
                key: obj,
                f"{compartment}_AreaShape_Area": 10_000 * number + 10 * obj,
                f"{compartment}_Intensity_Mean": number + obj / 8,
            }
            if compartment == "Cytoplasm":
                row["Cytoplasm_Parent_Cells"] = obj
                row["Cytoplasm_Parent_Nuclei"] = 99 if obj % 3 == 0 else site.cells + 1 - obj
            table.rows.append(row)
    return table
