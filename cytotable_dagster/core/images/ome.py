"""Crops as OME-Arrow structs, whole batches at a time; what the ome-arrow package (0.1) calls OME_ARROW_STRUCT.

That package pins an older boto than ours, and makes each struct of Python objects; of it only the layout is taken. It
has 16 bits a value, and a field of nulls (`masks`), which is left out as Parquet and Iceberg know no such type.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

TAG, VERSION = "ome.arrow", "0.1.0"


@cache
def ome_arrow_struct() -> "pa.DataType":
    """The type of a crop."""
    import pyarrow as pa

    text, real, whole, short = pa.string(), pa.float32(), pa.int32(), pa.int16()
    channel = pa.struct(
        [
            ("id", text),
            ("name", text),
            ("emission_um", real),
            ("excitation_um", real),
            ("illumination", text),
            ("color_rgba", pa.uint32()),
        ]
    )
    pixels = pa.struct(
        [
            ("dimension_order", text),
            ("type", text),
            ("size_x", whole),
            ("size_y", whole),
            ("size_z", whole),
            ("size_c", short),
            ("size_t", whole),
            *((f"physical_size_{axis}", real) for axis in "xyz"),
            *((f"physical_size_{axis}_unit", text) for axis in "xyz"),
            ("channels", pa.list_(channel)),
        ]
    )
    grid = pa.struct(
        [
            ("order", text),
            ("chunk_t", whole),
            ("chunk_c", short),
            *((f"chunk_{axis}", whole) for axis in "zyx"),
            ("chunk_order", text),
        ]
    )
    values = pa.list_(pa.uint16())
    chunk = [("t", whole), ("c", short), *((axis, whole) for axis in "zyx")]
    chunk += [(f"shape_{axis}", whole) for axis in "zyx"]
    plane = pa.struct([("z", whole), ("t", whole), ("c", short), ("pixels", values)])
    return pa.struct(
        [
            *((name, text) for name in ("type", "version", "id", "name", "image_type")),
            ("acquisition_datetime", pa.timestamp("us")),
            ("pixels_meta", pixels),
            ("chunk_grid", grid),
            ("chunks", pa.list_(pa.struct([*chunk, ("pixels", values)]))),
            ("planes", pa.list_(plane)),
        ]
    )


def ome_arrow(tensors: "pa.FixedSizeListArray", size: int, channels: Sequence[str], image_type: str) -> "pa.Array":
    """Tensors of shape (channels, size, size), a flat list each, as structs with a plane for each channel."""
    import numpy as np
    import pyarrow as pa

    rows, layers = len(tensors), len(channels)
    starts = pa.array(np.arange(rows * layers + 1, dtype=np.int32) * (size * size))
    pixels = pa.ListArray.from_arrays(starts, tensors.flatten().cast(pa.uint16()))
    return _structs(pixels, [_header(size, size, channels)] * rows, layers, image_type)


def ome_arrow_images(images: "Sequence[np.ndarray | None]", channel: str, image_type: str) -> "pa.Array":
    """Images of one channel, each of any shape (height, width), as structs; None is null."""
    import numpy as np
    import pyarrow as pa

    there = [image for image in images if image is not None]
    starts = np.cumsum([0, *(image.size for image in there)], dtype=np.int32)
    flat = np.concatenate([image.ravel() for image in there]) if there else np.zeros(0)
    pixels = pa.ListArray.from_arrays(pa.array(starts), pa.array(flat.astype(np.uint16)))
    made = _structs(pixels, [_header(image.shape[0], image.shape[1], (channel,)) for image in there], 1, image_type)
    places = np.cumsum([image is not None for image in images]) - 1
    return made.take(pa.array(places, mask=np.array([image is None for image in images], dtype=bool)))


def _header(height: int, width: int, channels: Sequence[str]) -> dict[str, Any]:
    return {
        "dimension_order": "XYCT",
        "type": "uint16",
        "size_x": width,
        "size_y": height,
        "size_z": 1,
        "size_c": len(channels),
        "size_t": 1,
        "channels": [{"id": f"ch-{place}", "name": name} for place, name in enumerate(channels)],
    }


def _structs(pixels: "pa.ListArray", headers: Sequence[dict[str, Any]], layers: int, image_type: str) -> "pa.Array":
    """Structs of so many planes each, whose values are `pixels`."""
    import numpy as np
    import pyarrow as pa

    kind, rows = ome_arrow_struct(), len(headers)
    plane_type = kind.field("planes").type.value_type
    zeros = pa.array(np.zeros(rows * layers, np.int32))
    of_layer = pa.array(np.tile(np.arange(layers, dtype=np.int16), rows))
    planes = pa.StructArray.from_arrays([zeros, zeros, of_layer, pixels], fields=list(plane_type))
    starts = pa.array(np.arange(rows + 1, dtype=np.int32) * layers)
    same = {"type": TAG, "version": VERSION, "image_type": image_type}
    fields = []
    for field in kind:
        if field.name == "planes":
            fields.append(pa.ListArray.from_arrays(starts, planes))
        elif field.name == "pixels_meta":
            fields.append(pa.array(headers, field.type))
        else:
            fields.append(pa.array([same.get(field.name)] * rows, field.type))
    return pa.StructArray.from_arrays(fields, fields=list(kind))
