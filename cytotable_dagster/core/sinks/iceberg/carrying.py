"""Crops and whole images of a plate that has changed: those of objects and images that are still there stay.

An object is known by its keys, its box and the image's file. The TableNumber is no such key, as it is another where the
source's file is; so identifiers, which are made of it, are made anew.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.planning.plan import ADDED_TABLE_NUMBER
from cytotable_dagster.core.sinks.iceberg.catalog import CROPS, PROFILES, SOURCE_IMAGES, load_table
from cytotable_dagster.core.sinks.iceberg.data_files import path_of
from cytotable_dagster.core.sinks.iceberg.images import (
    COLUMN,
    CROP_ID,
    FILE,
    IMAGE_ID,
    PICTURES,
    file_text,
    writer_of_plate,
)
from cytotable_dagster.core.sinks.iceberg.rows import (
    BOX,
    OBJECT_ID,
    box_texts,
    boxes_of,
    ids_of,
    keys_of,
    mapped,
    source_text,
    texts_of,
)
from cytotable_dagster.core.sinks.iceberg.tables import drop_plate, plates_in

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog.sql import SqlCatalog


def carry_images(catalog: "SqlCatalog", plate: str, root: Path) -> int:
    """Fit the images of a plate to its profiles, which have been put there anew.

    Returns:
        How many of its objects have no crop; 0 where none had one.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    lacking = 0
    own = _files(catalog, PROFILES, plate, root)
    there = set(pq.read_schema(own[0]).names)
    for name in (CROPS, SOURCE_IMAGES):
        files = _files(catalog, name, plate, root) if catalog.table_exists(name) else []
        if not files:
            continue
        schema = pq.read_schema(files[0])
        before = pq.read_table(files, columns=[field for field in schema.names if not field.startswith(PICTURES)])
        wanted = {OBJECT_ID, *keys_of(before.column_names), *BOX.values(), *before[COLUMN].unique().to_pylist()}
        profiles = pq.read_table(own, columns=sorted(wanted & there))
        places = _places(before, profiles)
        rows = _fitted(before.filter(places.is_valid()), profiles.take(places.drop_null()))
        if name == CROPS:
            lacking = profiles.num_rows - pc.count_distinct(rows[OBJECT_ID]).as_py()
        if not rows.num_rows:
            drop_plate(catalog, name, plate, root)
        elif not rows.equals(before):
            with writer_of_plate(catalog, name, plate, schema, root) as put:
                for part in _with_pictures(rows, files, places.is_valid(), schema):
                    put(part)
    return lacking


def _files(catalog: "SqlCatalog", name: str, plate: str, root: Path) -> list[Path]:
    return [path_of(file.file_path) for file in plates_in(load_table(catalog, name, root)).get(plate, [])]


def _places(images: "pa.Table", profiles: "pa.Table") -> "pa.Array":
    """For each image the row of its object, or of one of its objects where it is whole; null where there is none."""
    import pyarrow as pa

    keys = [name for name in keys_of(images.column_names) if name != ADDED_TABLE_NUMBER]
    of_objects = OBJECT_ID in images.column_names
    if not {*keys, *(BOX.values() if of_objects else ())} <= {*profiles.column_names}:
        return pa.nulls(images.num_rows, pa.int64())
    known: dict[str, list[int]] = {}
    for place, text in enumerate(_texts(profiles, keys, list(BOX.values()) if of_objects else [])):
        known.setdefault(text, []).append(place)
    files = {column: mapped(profiles[column], file_text).to_pylist() for column in images[COLUMN].unique().to_pylist()
             if column in profiles.column_names}  # fmt: skip
    found = []
    sides = [f"source_bbox_{side}" for side in BOX] if of_objects else []
    texts = _texts(images, keys, sides)
    for text, column, file in zip(texts, images[COLUMN].to_pylist(), images[FILE].to_pylist(), strict=True):
        own = [place for place in known.get(text, ()) if column in files and files[column][place] == file]
        # Which of two objects that nothing tells apart it is of is not known.
        found.append(own[0] if len(own) == 1 or (own and not of_objects) else None)
    return pa.array(found, pa.int64())


def _texts(rows: "pa.Table", keys: Sequence[str], sides: Sequence[str]) -> list[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = [mapped(rows[name], str) for name in keys]
    parts += [mapped(pc.floor(rows[name].cast(pa.float64())), str) for name in sides]
    empty = pa.array([""] * rows.num_rows)
    texts = pc.binary_join_element_wise(empty, *parts, "|", null_handling="replace", null_replacement="-")
    return list(texts.to_pylist())


def _fitted(images: "pa.Table", own: "pa.Table") -> "pa.Table":
    """Images with the keys and identifiers of their objects, which are the rows of `own`."""
    import pyarrow as pa

    keys = keys_of(images.column_names)
    made = {name: mapped(own[name], str) for name in keys if name in own.column_names}
    sources = list(map(source_text, images[COLUMN].to_pylist(), images[FILE].to_pylist()))
    if OBJECT_ID in images.column_names:
        made[OBJECT_ID] = own[OBJECT_ID]
        made[CROP_ID] = ids_of(texts_of(own, keys_of(own.column_names)), box_texts(*boxes_of(own, BOX)), sources)
    else:
        made[IMAGE_ID] = ids_of(texts_of(own, keys), None, sources)
    return pa.table([made.get(name, images[name]) for name in images.column_names], schema=images.schema)


def _with_pictures(
    rows: "pa.Table", files: Sequence[Path], kept: "pa.Array", schema: "pa.Schema"
) -> "Iterator[pa.Table]":
    """Rows and what was left out of them, a row group at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    before = done = 0
    for path in files:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                all_ = file.read_row_group(group)
                found = all_.filter(kept.slice(before, all_.num_rows))
                flat = rows.slice(done, found.num_rows)
                before, done = before + all_.num_rows, done + found.num_rows
                names = set(flat.column_names)
                yield pa.table({name: (flat if name in names else found)[name] for name in schema.names})
