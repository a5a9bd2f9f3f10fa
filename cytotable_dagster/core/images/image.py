"""An image as the measurements know it: one row for each image of a plate and channel, and what became of its file."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE, ILLUMINATION, OUTLINE, MASK = "image", "illumination", "outline", "mask"
KINDS = (IMAGE, ILLUMINATION, OUTLINE, MASK)

VERIFIED, PRESENT, MISSING, MISMATCH, UNMAPPED, AMBIGUOUS = (
    "verified",
    "present",
    "missing",
    "mismatch",
    "unmapped",
    "ambiguous",
)
STATUSES = (VERIFIED, PRESENT, MISSING, MISMATCH, UNMAPPED, AMBIGUOUS)
# Of those, what is a file that can be opened.
USABLE = (VERIFIED, PRESENT)

# How an address was found.
BY_URL, BY_LOAD_DATA, BY_RECORD, BY_RULE, BY_PATH, BY_NAME, BY_REGEX = (
    "url",
    "load_data",
    "recorded path",
    "path rule",
    "folder by path",
    "folder by name",
    "segmentation_file_regex",
)

PLATE, WELL, SITE = "Metadata_Plate", "Metadata_Well", "Metadata_Site"

Value = int | float | str | None


@dataclass(frozen=True)
class Image:
    """One image (a site of all channels) and channel.

    `keys` are the values of the key columns, in their order; `file`, `path` and `url` stand as they were recorded.
    `uri` is where the file is, `found` one of the ways above; `size` in bytes; `md5` is computed or the store's,
    `recorded_md5` CellProfiler's. `status` is one of STATUSES, None where nobody looked; `detail` says in a line what
    is wrong.
    """

    keys: tuple[Value, ...]
    plate: Value
    well: Value
    site: Value
    channel: str
    kind: str
    file: str | None = None
    path: str | None = None
    url: str | None = None
    recorded_md5: str | None = None
    uri: str | None = None
    found: str | None = None
    size: int | None = None
    etag: str | None = None
    md5: str | None = None
    status: str | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Recorded:
    """All images that a plate's tables name.

    `plate` is what the plate goes by; `sites` are the rows of its image table, without channels; `keys` are the key
    columns, as single cells call and type them, `plate_type`, `well_type` and `site_type` the types of those columns
    there; `notes` say what was odd.
    """

    plate: str
    sites: tuple[Image, ...]
    images: tuple[Image, ...]
    keys: "tuple[pa.Field, ...]"
    plate_type: "pa.DataType"
    well_type: "pa.DataType"
    site_type: "pa.DataType"
    notes: tuple[str, ...] = ()


def plates_of(image: Image, plate: str) -> tuple[str, ...]:
    """What the plate of an image is called: by its table, and by the source's name."""
    return tuple(dict.fromkeys(str(name) for name in (image.plate, plate) if name not in (None, "")))


def schema_of(recorded: Recorded) -> "pa.Schema":
    """The columns of a plate's provenance; the first ones join it to single cells."""
    import pyarrow as pa

    text = pa.string()
    own = [(PLATE, recorded.plate_type), (WELL, recorded.well_type), (SITE, recorded.site_type)]
    return pa.schema(
        [
            *own,
            *(field for field in recorded.keys if field.name not in (PLATE, WELL, SITE)),
            ("channel", text),
            ("kind", text),
            ("recorded_file", text),
            ("recorded_path", text),
            ("recorded_url", text),
            ("uri", text),
            ("found_by", text),
            ("size", pa.int64()),
            ("etag", text),
            ("recorded_md5", text),
            ("md5", text),
            ("status", text),
            ("detail", text),
        ]
    )


def tables_of(
    images: Iterable[Image], schema: "pa.Schema", keys: Sequence[str], rows: int = 16384
) -> "Iterator[pa.Table]":
    """Images as tables of that schema, so many rows each."""
    import pyarrow as pa

    rest = iter(images)
    while batch := list(islice(rest, rows)):
        values = {
            PLATE: [image.plate for image in batch],
            WELL: [image.well for image in batch],
            SITE: [image.site for image in batch],
            **{name: [image.keys[place] for image in batch] for place, name in enumerate(keys)},
            "channel": [image.channel for image in batch],
            "kind": [image.kind for image in batch],
            "recorded_file": [image.file for image in batch],
            "recorded_path": [image.path for image in batch],
            "recorded_url": [image.url for image in batch],
            "uri": [image.uri for image in batch],
            "found_by": [image.found for image in batch],
            "size": [image.size for image in batch],
            "etag": [image.etag for image in batch],
            "recorded_md5": [image.recorded_md5 for image in batch],
            "md5": [image.md5 for image in batch],
            "status": [image.status for image in batch],
            "detail": [image.detail for image in batch],
        }
        yield pa.table([pa.array(values[field.name], field.type) for field in schema], schema=schema)
