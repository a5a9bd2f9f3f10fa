"""A synthetic plate: images painted, objects found in them, and what was measured written as SQLite."""

import csv
import os
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.demo import layout
from cytotable_dagster.demo.layout import Site
from cytotable_dagster.demo.measuring import COMPARTMENTS
from cytotable_dagster.demo.painting import CHANNELS
from cytotable_dagster.demo.sites import SiteTables, make_site
from cytotable_dagster.demo.tables import (
    IMAGE_KEYS,
    OBJECT_KEYS,
    create_indexes,
    create_table,
    declared_types,
    insert,
    new_database,
)

BUCKET = "cellpainting-demo"
"""The bucket that load_data.csv says the images are in."""


@dataclass(frozen=True)
class DemoPlate:
    """A plate that was written. `counts`: table -> rows."""

    plate: str
    batch: str
    folder: Path
    sqlite: Path
    images: Path
    load_data: Path
    counts: Mapping[str, int]
    image_files: int

    @property
    def sqlite_key(self) -> str:
        """The SQLite file's key in a bucket that holds the folder."""
        return self.sqlite.relative_to(self.folder).as_posix()


def write_plate(
    folder: Path,
    *,
    plate: str = "BR00000001",
    batch: str = "2026_01_01_Demo",
    wells: int = 24,
    sites_per_well: int = 2,
    image_size: int = 256,
    seed: int = 0,
    indexes: bool = True,
    nan_text: bool = False,
    image_numbers_repeat: bool = False,
) -> DemoPlate:
    """Write images, SQLite file and load_data.csv of one plate below `folder`, which stands for a bucket.

    Of two or more sites one has no cells, and of three or more another has an AGP image that is blank, so
    that correlations with it are NULL. The same arguments give the same bytes.

    Args:
        wells: how many of the 384, spread evenly.
        image_size: edge of an image in pixels.
        nan_text: write two of those NULLs as the text 'nan', as real plates have it in FLOAT columns.
        image_numbers_repeat: count ImageNumber anew in every well: only TableNumber tells images apart.

    Raises:
        OptionError: a number that no plate can have.
        MissingExtraError: scipy or tifffile is not installed.
    """
    _check(wells, sites_per_well, image_size)
    folder = Path(folder)
    sites = layout.sites_of(wells, sites_per_well)
    images = folder / layout.images_key(batch, plate)
    images.mkdir(parents=True, exist_ok=True)
    sqlite = folder / layout.sqlite_key(batch, plate)
    counts: dict[str, int] = dict.fromkeys(("Image", *COMPARTMENTS), 0)
    make = partial(
        make_site,
        sites=len(sites),
        images=images,
        plate=plate,
        batch=batch,
        seed=seed,
        size=image_size,
        image_numbers_repeat=image_numbers_repeat,
    )
    with new_database(sqlite) as connection, ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        for tables in threads.map(make, sites):
            _insert_site(connection, tables, counts)
        if nan_text:
            _spell_nan(connection)
        if indexes:
            create_indexes(connection)
    return DemoPlate(
        plate=plate,
        batch=batch,
        folder=folder,
        sqlite=sqlite,
        images=images,
        load_data=_write_load_data(folder, batch, plate, sites),
        counts=counts,
        image_files=len(sites) * len(CHANNELS),
    )


def _check(wells: int, sites_per_well: int, image_size: int) -> None:
    if not 1 <= wells <= layout.ROWS * layout.COLUMNS:
        raise OptionError(f"wells={wells}: a plate has 1 to {layout.ROWS * layout.COLUMNS} wells")
    if not 1 <= sites_per_well <= 99:
        raise OptionError(f"sites_per_well={sites_per_well}: a well has 1 to 99 sites")
    if image_size < 64:
        raise OptionError(f"image_size={image_size}: an image of less than 64 pixels has no room for cells")


def _insert_site(connection: sqlite3.Connection, site: SiteTables, counts: dict[str, int]) -> None:
    """Append a site to the four tables, which the first site makes; add its rows to `counts`."""
    keys = (site.table_number, site.image_number)
    if counts["Image"] == 0:
        _create_tables(connection, site)
    insert(connection, "Image", [(*keys, *site.image.values())], len(keys) + len(site.image))
    counts["Image"] += 1
    for compartment, columns in site.objects.items():
        values = [column.tolist() for column in columns.values()]
        rows = [(*keys, number, *row) for number, row in enumerate(zip(*values, strict=True), start=1)]
        insert(connection, compartment, rows, len(OBJECT_KEYS) + len(columns))
        counts[compartment] += len(rows)


def _create_tables(connection: sqlite3.Connection, site: SiteTables) -> None:
    kinds = {int: "BIGINT", float: "FLOAT", str: "TEXT"}
    image_types = {name: kinds[type(value)] for name, value in site.image.items()}
    create_table(connection, "Image", {**dict.fromkeys(IMAGE_KEYS, "BIGINT"), **image_types})
    for compartment, columns in site.objects.items():
        keys = dict.fromkeys(OBJECT_KEYS, "BIGINT")
        create_table(connection, compartment, {**keys, **declared_types(columns)})


def _spell_nan(connection: sqlite3.Connection) -> None:
    """The first two NULLs of one correlation of cells become the text 'nan'."""
    column = "Cells_Correlation_Correlation_AGP_DNA"
    connection.execute(
        f"UPDATE Cells SET {column} = 'nan' WHERE rowid IN "
        f"(SELECT rowid FROM Cells WHERE {column} IS NULL ORDER BY rowid LIMIT 2)"
    )


def _write_load_data(folder: Path, batch: str, plate: str, sites: Sequence[Site]) -> Path:
    """load_data.csv: one row a site, with the images' places in the bucket."""
    path = folder / layout.load_data_key(batch, plate)
    path.parent.mkdir(parents=True, exist_ok=True)
    place = f"s3://{BUCKET}/{layout.images_key(batch, plate)}/"
    header = [f"{kind}_Orig{channel}" for channel in CHANNELS for kind in ("FileName", "PathName")]
    header += [f"Metadata_{name}" for name in ("Plate", "Well", "Site", "Row", "Col", "Batch", "Source")]
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        for site in sites:
            names = [site.file_name(number) for number, _ in enumerate(CHANNELS, start=1)]
            files = [value for name in names for value in (name, place)]
            writer.writerow([*files, plate, site.well, site.site, site.row, site.column, batch, layout.SOURCE])
    return path
