"""A SQLite file of a JUMP plate's shape and size without images, for benchmarks: the numbers are random.

Tables, columns and kinds of values follow a real plate of the Cell Painting Gallery with eight channels. Some
100 values of an object are whole numbers in FLOAT columns, which SQLite stores as integers; a few are NULL.
"""

import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.demo import layout
from cytotable_dagster.demo.tables import (
    IMAGE_KEYS,
    create_indexes,
    create_table,
    insert,
    new_database,
)
from cytotable_dagster.demo.wide_columns import CHANNELS, Feature, features_of

PLATE = "BR00900001"
BATCH = "2026_01_01_Wide"
MOUNT = "/home/ubuntu/bucket"
SITES_PER_WELL = 9
ROWS_AT_ONCE = 512

WITHOUT_CELL = 1 / 30
WITHOUT_CYTOPLASM = 1 / 100
WITHOUT_NUCLEUS = 1 / 100

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class _Table:
    """Features of a table, and their kinds as arrays of one value a feature."""

    name: str
    features: Sequence[Feature]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    constant: NDArray[np.float64]
    constant_share: NDArray[np.float64]
    null_share: NDArray[np.float64]
    whole: NDArray[np.bool_]
    single: NDArray[np.bool_]


def write_wide_plate(
    path: Path,
    *,
    images: int,
    objects_per_image: int,
    features: int = 1926,
    seed: int = 0,
    indexes: bool = True,
) -> Mapping[str, int]:
    """Write a plate of `images` fields of view with about `objects_per_image` nuclei each.

    One nucleus in 30 has no cell and so no cytoplasm, one cell in 100 no cytoplasm, one cytoplasm in 100 no
    nucleus. 64 images of 180 objects make about 570 MB. The same arguments give the same bytes.

    Args:
        features: most features a table has, apart from keys, parents and names of files.

    Returns:
        Table -> rows.

    Raises:
        OptionError: less than one image or feature, or less than no objects.
    """
    for name, value, least in (
        ("images", images, 1),
        ("objects_per_image", objects_per_image, 0),
        ("features", features, 1),
    ):
        if value < least:
            raise OptionError(f"{name}={value}: at least {least} is needed")
    tables = {name: _table(name, features) for name in ("Image", "Cells", "Cytoplasm", "Nuclei")}
    counts: dict[str, int] = dict.fromkeys(tables, 0)
    rng = np.random.default_rng(seed)
    with new_database(Path(path)) as connection:
        for index in range(images):
            numbers = (zlib.crc32(f"{seed}/{index}".encode()), index + 1)
            rows = {"Image": {**_keys(numbers, 1), **_identity(seed, index)}}
            for name, links in _relate(rng, objects_per_image).items():
                count = len(next(iter(links.values())))
                objects = list(range(1, count + 1))
                rows[name] = {**_keys(numbers, count), "ObjectNumber": objects, **links}
            for name, known in rows.items():
                if index == 0:
                    _create(connection, tables[name], known)
                counts[name] += _fill(connection, rng, tables[name], known)
        if indexes:
            create_indexes(connection)
    return counts


def _table(name: str, most: int) -> _Table:
    features = features_of(name, most)
    kinds = [feature.kind for feature in features]
    return _Table(
        name=name,
        features=features,
        mean=np.array([kind.mean for kind in kinds]),
        spread=np.array([kind.spread for kind in kinds]),
        constant=np.array([kind.constant for kind in kinds]),
        constant_share=np.array([kind.constant_share for kind in kinds]),
        null_share=np.array([kind.null_share for kind in kinds]),
        whole=np.array([kind.whole for kind in kinds]),
        single=np.array([kind.single for kind in kinds]),
    )


def _keys(numbers: tuple[int, int], rows: int) -> dict[str, list[int] | list[str]]:
    return {key: [number] * rows for key, number in zip(IMAGE_KEYS, numbers, strict=True)}


def _identity(seed: int, index: int) -> Mapping[str, list[int] | list[str]]:
    """The columns of an image's row that say where it was taken and where its files are."""
    well, site = divmod(index, SITES_PER_WELL)
    row, column = divmod(well % (layout.ROWS * layout.COLUMNS), layout.COLUMNS)
    place = layout.Site(index=index, row=row + 1, column=column + 1, site=site + 1)
    path = f"{MOUNT}/{layout.images_key(BATCH, PLATE)}"
    columns: dict[str, list[int] | list[str]] = {
        "Metadata_Col": [place.column],
        "Metadata_Plate": [PLATE],
        "Metadata_Row": [place.row],
        "Metadata_Site": [place.site],
        "Metadata_Well": [place.well],
    }
    for number, channel in enumerate(CHANNELS, start=1):
        digest = md5(f"{seed}/{index}/{channel}".encode(), usedforsecurity=False).hexdigest()
        columns[f"FileName_Orig{channel}"] = [place.file_name(number)]
        columns[f"MD5Digest_Orig{channel}"] = [digest]
        columns[f"PathName_Orig{channel}"] = [path]
        columns[f"URL_Orig{channel}"] = [f"file:{path}/{place.file_name(number)}"]
    return columns


def _relate(rng: np.random.Generator, objects: int) -> Mapping[str, Mapping[str, list[int]]]:
    """The objects of an image: table -> columns that say which belong together. A parent of 0 is none."""
    count = int(rng.poisson(objects))
    nuclei = np.arange(1, count + 1)
    nucleus_of_cell = nuclei[rng.random(count) >= WITHOUT_CELL]
    cells = np.arange(1, len(nucleus_of_cell) + 1)
    kept = rng.random(len(cells)) >= WITHOUT_CYTOPLASM
    orphan = rng.random(len(cells))[kept] < WITHOUT_NUCLEUS
    cell_of_cytoplasm, nucleus_of_cytoplasm = cells[kept], np.where(orphan, 0, nucleus_of_cell[kept])
    columns = {
        "Cells": {
            "Children_Cytoplasm_Count": kept.astype(np.int64),
            "Number_Object_Number": cells,
            "Parent_Nuclei": nucleus_of_cell,
        },
        "Cytoplasm": {
            "Number_Object_Number": np.arange(1, len(cell_of_cytoplasm) + 1),
            "Parent_Cells": cell_of_cytoplasm,
            "Parent_Nuclei": nucleus_of_cytoplasm,
        },
        "Nuclei": {
            "Children_Cells_Count": np.isin(nuclei, nucleus_of_cell).astype(np.int64),
            "Children_Cytoplasm_Count": np.isin(nuclei, nucleus_of_cytoplasm).astype(np.int64),
            "Number_Object_Number": nuclei,
        },
    }
    return {
        table: {f"{table}_{name}": column.tolist() for name, column in links.items()}
        for table, links in columns.items()
    }


def _create(connection: sqlite3.Connection, table: _Table, known: Mapping[str, Sequence[object]]) -> None:
    names = ("Metadata_Plate", "Metadata_Well", "FileName_", "MD5Digest_", "PathName_", "URL_")
    types = {name: "TEXT" if name.startswith(names) else "BIGINT" for name in known}
    create_table(connection, table.name, {**types, **{one.name: one.kind.declared for one in table.features}})


def _fill(
    connection: sqlite3.Connection,
    rng: np.random.Generator,
    table: _Table,
    known: Mapping[str, Sequence[object]],
) -> int:
    """Append rows that begin with the known columns and go on with random features; how many."""
    rows = list(zip(*known.values(), strict=True))
    width = len(known) + len(table.features)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        values = _values(rng, table, len(some)).tolist()
        insert(connection, table.name, ((*head, *tail) for head, tail in zip(some, values, strict=True)), width)
    return len(rows)


def _values(rng: np.random.Generator, table: _Table, rows: int) -> NDArray[np.float64]:
    """Random features, of shape (rows, features); NaN where a value is missing."""
    shape = (rows, len(table.features))
    values = rng.standard_normal(shape) * table.spread + table.mean
    values[:, table.whole] = np.rint(values[:, table.whole])
    values[:, table.single] = values[:, table.single].astype(np.float32)
    lot = rng.random(shape)
    values = np.where(lot >= 1 - table.constant_share, table.constant, values)
    return np.where(lot < table.null_share, np.nan, values)
