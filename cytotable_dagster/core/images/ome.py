"""Crops as OME-Arrow structs, whole batches at a time; what the ome-arrow package (0.1) calls OME_ARROW_STRUCT.

That package pins an older boto than ours, and makes each struct of Python objects; of it only the layout is taken. It
has 16 bits a value, and a field of nulls (`masks`), which is left out as Parquet and Iceberg know no such type.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

    kind = ome_arrow_struct()
    rows, layers, values = len(tensors), len(channels), size * size
    pixels = pa.ListArray.from_arrays(
        pa.array(np.arange(rows * layers + 1, dtype=np.int32) * values), tensors.flatten().cast(pa.uint16())
    )
    of_layer = np.tile(np.arange(layers), rows)
    plane_type = kind.field("planes").type.value_type
    zeros = pa.array(np.zeros(rows * layers, np.int32))
    planes = pa.StructArray.from_arrays(
        [zeros, zeros, pa.array(of_layer.astype(np.int16)), pixels], fields=list(plane_type)
    )
    starts = pa.array(np.arange(rows + 1, dtype=np.int32) * layers)
    header = {
        "dimension_order": "XYCT",
        "type": "uint16",
        "size_x": size,
        "size_y": size,
        "size_z": 1,
        "size_c": layers,
        "size_t": 1,
        "channels": [{"id": f"ch-{place}", "name": name} for place, name in enumerate(channels)],
    }
    same = {
        "type": TAG,
        "version": VERSION,
        "image_type": image_type,
        "pixels_meta": header,
    }
    fields = []
    for field in kind:
        if field.name == "planes":
            fields.append(pa.ListArray.from_arrays(starts, planes))
        else:
            fields.append(pa.array([same.get(field.name)] * rows, field.type))
    return pa.StructArray.from_arrays(fields, fields=list(kind))
