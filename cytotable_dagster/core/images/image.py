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

# Of those, by what a file is called: whose it is nobody says.
BY_FOLDER = (BY_PATH, BY_NAME, BY_REGEX)

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


# Columns of provenance beside the keys, and what of an image stands in them; all but one are text.
_PLACES = {PLATE: "plate", WELL: "well", SITE: "site"}
_SIZE = "size"
_COLUMNS = {
    "channel": "channel",
    "kind": "kind",
    "recorded_file": "file",
    "recorded_path": "path",
    "recorded_url": "url",
    "uri": "uri",
    "found_by": "found",
    _SIZE: "size",
    "etag": "etag",
    "recorded_md5": "recorded_md5",
    "md5": "md5",
    "status": "status",
    "detail": "detail",
}


def schema_of(recorded: Recorded) -> "pa.Schema":
    """The columns of a plate's provenance; the first ones join it to single cells."""
    import pyarrow as pa

    types = (recorded.plate_type, recorded.well_type, recorded.site_type)
    return pa.schema(
        [
            *zip(_PLACES, types, strict=True),
            *(field for field in recorded.keys if field.name not in _PLACES),
            *((name, pa.int64() if name == _SIZE else pa.string()) for name in _COLUMNS),
        ]
    )


def tables_of(
    images: Iterable[Image], schema: "pa.Schema", keys: Sequence[str], rows: int = 16384
) -> "Iterator[pa.Table]":
    """Images as tables of that schema, so many rows each."""
    import pyarrow as pa

    rest = iter(images)
    while batch := list(islice(rest, rows)):
        values = {name: [getattr(image, what) for image in batch] for name, what in (_PLACES | _COLUMNS).items()}
        values |= {name: [image.keys[place] for image in batch] for place, name in enumerate(keys)}
        yield pa.table([pa.array(values[field.name], field.type) for field in schema], schema=schema)
