"""The images that a plate's image table names, by its columns."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cytotable_dagster.core.images.image import ILLUMINATION, IMAGE, MASK, OUTLINE, Image, Recorded, Value
from cytotable_dagster.core.model import presets
from cytotable_dagster.core.model.names import PLATE, SITE, WELL
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.steps.batches import read_batches

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMN = re.compile(r"(?:Image_)?(?P<objects>Objects)?(?P<what>FileName|PathName|URL|MD5Digest)_(?P<channel>.+)")
_WHAT = {"FileName": "file", "PathName": "path", "URL": "url", "MD5Digest": "recorded_md5"}
_OUTLINE = re.compile(r"outlines?$|overlay", re.IGNORECASE)
_MASK = re.compile(r"(masks?|labels?)$", re.IGNORECASE)
_ILLUMINATION = re.compile(r"^illum|\.npy$|_illum$", re.IGNORECASE)
_ROWS = 4096


@dataclass(frozen=True)
class ChannelColumns:
    """The columns of a table that name the files of one channel: `file`, `path`, `url`, `recorded_md5` -> column."""

    channel: str
    kind: str
    columns: Mapping[str, str]


def channels_in(names: Iterable[str]) -> tuple[ChannelColumns, ...]:
    """The channels that columns of these names, as a source calls them, speak of; those with files or addresses."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for name in names:
        if match := _COLUMN.fullmatch(name):
            kind = MASK if match["objects"] else kind_of(match["channel"])
            found.setdefault((kind, match["channel"]), {}).setdefault(_WHAT[match["what"]], name)
    return tuple(
        ChannelColumns(channel, kind, columns)
        for (kind, channel), columns in found.items()
        if columns.keys() & {"file", "url"}
    )


def kind_of(channel: str) -> str:
    """What a channel's files are, by its name: `IllumDNA`, `CellOutlines`, `OrigOverlay`, `NucleiMask`, `OrigDNA`."""
    if _ILLUMINATION.search(channel):
        return ILLUMINATION
    if _OUTLINE.search(channel):
        return OUTLINE
    return MASK if _MASK.search(channel) else IMAGE


def table_of(plan: Plan) -> Recorded:
    """The images that the plan's image table names; where it has no such table or columns, none and a note."""
    import pyarrow as pa

    source = plan.source
    if presets.IMAGE not in plan.compartments:
        note = f"{source.uri}: no image table, so that no image is known by it"
        return Recorded(source.plate, (), (), (), pa.string(), pa.string(), pa.string(), (note,))
    schema = plan.schema(presets.IMAGE)
    own = {column.source: column.name for column in plan.part(presets.IMAGE).columns if not column.beside}
    channels = channels_in(own)
    keys = [own[key] for key in plan.preset.keys_of(presets.IMAGE)]
    keys += [name for name in plan.added_to(presets.IMAGE) if name not in (PLATE, *keys)]
    places = {
        PLATE: _named(schema.names, own, PLATE, plan.preset.plate_columns),
        WELL: _named(schema.names, own, WELL, plan.preset.well_columns),
        SITE: _named(schema.names, own, SITE, plan.preset.site_columns),
    }
    wanted = {*keys, *filter(None, places.values())}
    wanted |= {own[column] for channel in channels for column in channel.columns.values()}
    names = [name for name in schema.names if name in wanted]
    rows = plan.ordered(presets.IMAGE)
    batches = [rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS)]
    sites: list[Image] = []
    images: list[Image] = []
    for table, _ in read_batches(plan, presets.IMAGE, batches, names):
        found = images_in(table.to_pydict(), table.num_rows, keys, places, channels, own, source.plate)
        sites += found[0]
        images += found[1]
    return Recorded(
        plate=source.plate,
        sites=tuple(sites),
        images=tuple(images),
        keys=tuple(schema.field(name) for name in keys),
        plate_type=_type(schema, places[PLATE]),
        well_type=_type(schema, places[WELL]),
        site_type=_type(schema, places[SITE]),
        notes=() if channels else (f"{source.uri}: its image table has no FileName_ or URL_ columns that name images",),
    )


def images_in(
    values: Mapping[str, Sequence[Value]],
    rows: int,
    keys: Sequence[str],
    places: Mapping[str, str | None],
    channels: Sequence[ChannelColumns],
    own: Mapping[str, str],
    plate: str,
) -> tuple[list[Image], list[Image]]:
    """The sites and images that rows of a table are.

    Args:
        values: of its columns, which `keys` and `places` (Metadata_Plate, ... -> column) name, and `channels` by way of
            `own`.
        plate: what it goes by where no column says it.
    """
    sites: list[Image] = []
    images: list[Image] = []
    for row in range(rows):
        sites.append(_site(values, row, keys, places, plate))
        images += _images(sites[-1], values, row, channels, own)
    return sites, images


def _site(
    values: Mapping[str, Sequence[Value]],
    row: int,
    keys: Sequence[str],
    places: Mapping[str, str | None],
    plate: str,
) -> Image:
    where = {name: None if column is None else values[column][row] for name, column in places.items()}
    return Image(
        keys=tuple(values[name][row] for name in keys),
        plate=plate if places[PLATE] is None else where[PLATE],
        well=where[WELL],
        site=where[SITE],
        channel="",
        kind="",
    )


def _images(
    site: Image,
    values: Mapping[str, Sequence[Value]],
    row: int,
    channels: Sequence[ChannelColumns],
    own: Mapping[str, str],
) -> Iterator[Image]:
    for channel in channels:
        found = {what: text_of(values[own[column]][row]) for what, column in channel.columns.items()}
        if found.get("file") or found.get("url"):
            digest = found.get("recorded_md5")
            yield replace(
                site,
                channel=channel.channel,
                kind=channel.kind,
                file=found.get("file"),
                path=found.get("path"),
                url=found.get("url"),
                recorded_md5=digest.lower() if digest else None,
            )


def text_of(value: Value) -> str | None:
    text = "" if value is None else str(value).strip()
    return text if text and text.lower() != "nan" else None


def _named(names: Sequence[str], own: Mapping[str, str], usual: str, others: Sequence[str]) -> str | None:
    """The result's column that says plate, well or site."""
    wanted = [usual, f"Image_{usual}"]
    wanted += [name for other in others for name in (own.get(other), own.get(f"Image_{other}")) if name]
    return next((name for name in wanted if name in names), None)


def _type(schema: "pa.Schema", name: str | None) -> "pa.DataType":
    import pyarrow as pa

    return pa.string() if name is None else schema.field(name).type
