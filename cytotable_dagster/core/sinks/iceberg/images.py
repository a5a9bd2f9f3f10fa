"""Images of a plate's objects as rows of a warehouse: a crop of each object and channel, and the images themselves."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cytotable_dagster.core.execution.stopping import check_stopped
from cytotable_dagster.core.images import CellImages, ChannelLayers, ome_arrow_images, ome_arrow_struct
from cytotable_dagster.core.sinks.iceberg.catalog import CROPS, SOURCE_IMAGES
from cytotable_dagster.core.sinks.iceberg.rows import (
    OBJECT_ID,
    box_texts,
    boxes_of,
    ids_of,
    keys_of,
    mapped,
    source_text,
    texts_of,
)
from cytotable_dagster.core.sinks.iceberg.tables import place_of_plate
from cytotable_dagster.core.support.telling import tell

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from pyiceberg.catalog.sql import SqlCatalog

CROP_ID, IMAGE_ID = "Metadata_ImageCropID", "Metadata_ImageID"
COLUMN, FILE, LABEL = "source_image_column", "source_image_file", "label_source_kind"
_SIDES = ("x_min", "x_max", "y_min", "y_max")
PICTURES = "ome_arrow_"
_PICTURES = ("image", "outline", "mask", "label")
# Pixels of the crops that are in memory at once, about; 64 MB as they are written.
_PIXELS = 1 << 24


def put_images(
    catalog: "SqlCatalog", found: CellImages, box: Mapping[str, str], plate: str, root: Path, *, whole: bool
) -> None:
    """Put the pixels in the boxes of a plate's objects into a warehouse, a row for each object and channel, and where
    asked for the `whole` images, a row for each image and channel. Each image is read once, and in memory alone.

    What of a box lies outside of the image is left out; who has no box, or no pixels, has no crop, which a warning
    counts.
    """
    import numpy as np

    keys = keys_of(found.table.columns)
    of_image = keys_of(found.table.columns, of_image=True)
    crops = _schema(keys, (OBJECT_ID, CROP_ID), [f"source_bbox_{side}" for side in _SIDES])
    images = _schema(of_image, (IMAGE_ID,), ())
    lacking = 0
    why = None
    with ExitStack() as stack:
        put_crops = stack.enter_context(writer_of_plate(catalog, CROPS, plate, crops, root))
        put_whole = stack.enter_context(writer_of_plate(catalog, SOURCE_IMAGES, plate, images, root)) if whole else None
        for done, (cells, channels) in enumerate(found.sets()):
            tell("images cropped", done, found.images)
            boxes, valid = boxes_of(cells, box)
            there = [channel for channel in channels if channel.image.pixels is not None]
            problems = [channel.image.problem for channel in channels if channel.image.pixels is None]
            for part in _shares(np.flatnonzero(valid), boxes, max(len(there), 1)):
                check_stopped()
                own, sides = cells.take(part), boxes[part]
                table = _crops(own, keys, texts_of(own, keys), sides, there, crops)
                lacking += len(part) * len(channels) - table.num_rows
                put_crops(table)
            lacking += int((~valid).sum()) * len(channels)
            why = why or next(iter(problems), None)
            if put_whole is not None:
                for channel in there:
                    check_stopped()
                    put_whole(_whole(cells.slice(0, 1), of_image, channel, images))
    if lacking:
        reason = why or "they have no box, or one outside of the image"
        warnings.warn(f"plate {plate}: {lacking:,} image crops are not made: {reason}", stacklevel=2)


@contextmanager
def writer_of_plate(
    catalog: "SqlCatalog", name: str, plate: str, schema: "pa.Schema", root: Path
) -> "Iterator[Callable[[pa.Table], None]]":
    """What writes rows of a plate into a table."""
    import pyarrow.parquet as pq

    with (
        place_of_plate(catalog, name, plate, schema, root) as place,
        pq.ParquetWriter(place.path, place.schema, compression="zstd") as writer,
    ):
        yield lambda rows: writer.write_table(rows.cast(place.schema))


def _whole(first: "pa.Table", keys: Sequence[str], channel: ChannelLayers, schema: "pa.Schema") -> "pa.Table":
    """An image's row, or none where nothing names it; `first` is the row of one of its objects."""
    import pyarrow as pa

    file = _file(first, channel.column)
    if file is None:
        return schema.empty_table()
    made = {name: mapped(first[name], str) for name in keys}
    ids = ids_of(texts_of(first, keys), None, source_text(channel.column, file))
    pictures = {kind: [layer] for kind, layer in _layers(channel).items()}
    made |= {IMAGE_ID: ids, **_source(channel, file, 1), **_pictures(channel, pictures)}
    return pa.table([made[name] for name in schema.names], schema=schema)


def _crops(
    cells: "pa.Table",
    keys: Sequence[str],
    objects: "pa.Array",
    boxes: "np.ndarray",
    channels: Sequence[ChannelLayers],
    schema: "pa.Schema",
) -> "pa.Table":
    import numpy as np
    import pyarrow as pa

    texts = box_texts(boxes, np.ones(len(boxes), bool))
    same = {name: mapped(cells[name], str) for name in keys}
    same |= {f"source_bbox_{side}": pa.array(boxes[:, place]) for place, side in enumerate(_SIDES)}
    same[OBJECT_ID] = ids_of(objects, texts)
    left, right, top, bottom = np.maximum(boxes, 0).T.tolist()
    tables = [schema.empty_table()]
    for channel in channels:
        file = _file(cells, channel.column)
        if file is None:
            continue
        pictures = {
            kind: [pixels[a:b, c:d] for a, b, c, d in zip(top, bottom, left, right, strict=True)]
            for kind, pixels in _layers(channel).items()
        }
        made = {
            **same,
            CROP_ID: ids_of(objects, texts, source_text(channel.column, file)),
            **_source(channel, file, len(boxes)),
            **_pictures(channel, pictures),
        }
        inside = pa.array([crop.size > 0 for crop in pictures["image"]])
        tables.append(pa.table([made[name] for name in schema.names], schema=schema).filter(inside))
    return pa.concat_tables(tables)


def _schema(keys: Sequence[str], ids: Sequence[str], sides: Sequence[str]) -> "pa.Schema":
    """CytoTable's: keys are text."""
    import pyarrow as pa

    text = [(name, pa.string()) for name in (*sorted(keys), *ids, COLUMN, FILE, LABEL)]
    pictures = [(f"{PICTURES}{kind}", ome_arrow_struct()) for kind in _PICTURES]
    return pa.schema([*text, *((name, pa.int64()) for name in sides), *pictures])


def _shares(cells: "np.ndarray", boxes: "np.ndarray", channels: int) -> "list[np.ndarray]":
    """Cells in shares of not many pixels."""
    import numpy as np

    if not len(cells):
        return []
    own = boxes[cells]
    pixels = np.cumsum((own[:, 1] - own[:, 0]) * (own[:, 3] - own[:, 2]) * channels) // _PIXELS
    return np.split(cells, np.flatnonzero(np.diff(pixels)) + 1)


def _file(cells: "pa.Table", column: str) -> str | None:
    value = cells[column][0].as_py()
    return None if value is None else file_text(str(value))


def file_text(name: str) -> str:
    """The name of an image's file, as CytoTable has it."""
    return PurePosixPath(name.removeprefix("file:")).as_posix()


def _layers(channel: ChannelLayers) -> "dict[str, np.ndarray]":
    layers = {"image": channel.image, "outline": channel.outline, "mask": channel.mask}
    return {kind: layer.pixels for kind, layer in layers.items() if layer is not None and layer.pixels is not None}


def _source(channel: ChannelLayers, file: str, rows: int) -> "dict[str, pa.Array]":
    import pyarrow as pa

    kind = "outline" if channel.outline is not None else "mask" if channel.mask is not None else None
    values = {COLUMN: channel.column, FILE: file, LABEL: kind}
    return {name: pa.array([value] * rows, pa.string()) for name, value in values.items()}


def _pictures(channel: ChannelLayers, pictures: "Mapping[str, Sequence[np.ndarray]]") -> "dict[str, pa.Array]":
    """The struct columns; a label is the outline, else the mask."""
    rows = len(pictures["image"])
    made = {}
    for kind in ("image", "outline", "mask"):
        own = pictures.get(kind, [None] * rows)
        made[kind] = ome_arrow_images(own, channel.name, "image" if kind == "image" else "label")
    made["label"] = made["outline" if "outline" in pictures else "mask"]
    return {f"{PICTURES}{kind}": column for kind, column in made.items()}
