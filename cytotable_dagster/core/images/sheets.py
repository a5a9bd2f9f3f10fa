"""Contact sheets: crops side by side, with channel colours, a scale and the keys of each cell."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.images.cells import ROW
from cytotable_dagster.core.images.colours import Contrast, colours_of, composite, contrast_of
from cytotable_dagster.core.images.cropping import Crops
from cytotable_dagster.core.images.cutting import CROP, OK
from cytotable_dagster.core.images.image import SITE, WELL
from cytotable_dagster.core.images.pixels import ImageError, read

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as Picture

_BACKGROUND, _TEXT, _FAINT = (18, 18, 20), (225, 225, 228), (150, 150, 156)
_GAP, _CAPTION, _LINE = 6, 15, 20
# A cell is shown at least so large, in whole pixels for one of its own.
_TILE = 96
_SAMPLED = 6
_MOST = 1000
_OBJECT = "Metadata_ObjectNumber"


@dataclass(frozen=True)
class Tile:
    """A cell to be shown: its layers, shape (channels, size, size), a caption and what is wrong with it."""

    layers: "np.ndarray"
    caption: str
    problem: str | None


def plate_contrasts(made: Crops, images: int = _SAMPLED) -> dict[str, Contrast]:
    """The contrast of each channel, of images spread evenly over the plate, whichever cells are shown."""
    found = {}
    for channel in made.channels:
        files = [own[channel].uri for own in made.files.files.values() if channel in own and not own[channel].problem]
        step = max(len(files) // images, 1)
        sampled = []
        for uri in files[step // 2 :: step][:images]:
            try:
                sampled.append(read(uri or "", made.open_))
            except ImageError:
                # The cells of such an image say so themselves.
                continue
        found[channel] = contrast_of(sampled)
    return found


def contact_sheet(made: Crops, *, title: str = "", contrasts: Mapping[str, Contrast] | None = None) -> bytes:
    """All crops, in the order of their table, as one PNG picture.

    Args:
        contrasts: by channel; None is that of the plate.

    Raises:
        OptionError: there is no cell, or more than a picture shows.
    """
    rows = made.cells.sort_by(ROW)[ROW].to_pylist()
    return png_of(sheet_of(made, title, [("", rows)], contrasts))


def sheet_of(
    made: Crops,
    title: str,
    groups: "Sequence[tuple[str, Sequence[int]]]",
    contrasts: Mapping[str, Contrast] | None = None,
    across: int | None = None,
) -> "Picture":
    """Crops as a picture, under headings.

    Args:
        groups: headings, and the cells under each by `row`.
        contrasts: by channel; None is that of the plate.
        across: cells in a line; None makes about a square.

    Raises:
        OptionError: there is no cell, or more than a picture shows.
    """
    if not 1 <= len(made) <= _MOST:
        raise OptionError(f"{len(made):,} cells are chosen, and a sheet shows 1 to {_MOST:,}; see where= and limit=")
    contrasts = plate_contrasts(made) if contrasts is None else contrasts
    tiles = {row: tile for batch in made for row, tile in _tiles(batch, made).items()}
    shown = [(heading, [tiles[row] for row in rows if row in tiles]) for heading, rows in groups]
    zoom = max(round(_TILE / made.size), 1)
    return _laid_out(shown, made, title, contrasts, zoom, across or _across(len(made)))


def png_of(picture: "Picture", colours: int | None = None) -> bytes:
    """A picture as PNG, with so many colours at most."""
    made = picture.quantize(colours) if colours else picture
    buffer = io.BytesIO()
    made.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _tiles(batch: Any, made: Crops) -> dict[int, Tile]:
    layers = batch.column(CROP).to_numpy_ndarray()
    rows = batch.drop_columns([CROP]).to_pylist()
    places = made.table.places
    found = {}
    for row, own in zip(rows, layers, strict=True):
        parts = [str(row[places[WELL]])] if WELL in places and row[places[WELL]] is not None else []
        parts += [f"s{row[places[SITE]]}"] if SITE in places and row[places[SITE]] is not None else []
        number = row.get(_OBJECT)
        parts.append(f"#{number}" if number is not None else f"row {row[ROW]}")
        found[row[ROW]] = Tile(own, " ".join(parts), None if row["status"] == OK else row["status"])
    return found


def _across(count: int) -> int:
    return max(min(round((count * 1.6) ** 0.5), 16), 4)


def _laid_out(
    groups: "Sequence[tuple[str, Sequence[Tile]]]",
    made: Crops,
    title: str,
    contrasts: Mapping[str, Contrast],
    zoom: int,
    across: int,
) -> "Picture":
    from PIL import Image, ImageDraw, ImageFont

    font, small = ImageFont.load_default(13), ImageFont.load_default(10)
    edge = made.size * zoom
    width = max(across * (edge + _GAP) + _GAP, 420)
    head = _GAP + _LINE * (1 + bool(title)) + _GAP
    lines = [(heading, -(-len(tiles) // across)) for heading, tiles in groups]
    height = head + sum(bool(heading) * _LINE + count * (edge + _CAPTION + _GAP) for heading, count in lines) + _GAP
    picture = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    if title:
        draw.text((_GAP, _GAP), title, _TEXT, font)
    _legend(draw, made, contrasts, zoom, (_GAP, _GAP + _LINE * bool(title)), width, font, small)
    top = head
    for heading, tiles in groups:
        if heading:
            draw.text((_GAP, top), heading, _TEXT, font)
            top += _LINE
        for place, tile in enumerate(tiles):
            left = _GAP + place % across * (edge + _GAP)
            at = top + place // across * (edge + _CAPTION + _GAP)
            shown = Image.fromarray(composite(tile.layers, made.channels, contrasts))
            picture.paste(shown.resize((edge, edge), Image.Resampling.NEAREST), (left, at))
            _mark_middle(draw, left, at, edge)
            if tile.problem:
                draw.rectangle((left, at, left + edge - 1, at + edge - 1), outline=(200, 60, 60))
                draw.text((left + 3, at + 2), tile.problem, (255, 120, 120), small)
            draw.text((left, at + edge + 1), tile.caption, _FAINT, small)
        top += -(-len(tiles) // across) * (edge + _CAPTION + _GAP)
    return picture


def _mark_middle(draw: Any, left: int, top: int, edge: int) -> None:
    """Ticks at the middle of a tile's sides: which of several cells is meant."""
    x, y, right, bottom = left + edge // 2, top + edge // 2, left + edge - 1, top + edge - 1
    for line in ((x, top, x, top + 4), (x, bottom - 4, x, bottom), (left, y, left + 4, y), (right - 4, y, right, y)):
        draw.line(line, fill=_TEXT)


def _legend(
    draw: Any,
    made: Crops,
    contrasts: Mapping[str, Contrast],
    zoom: int,
    place: tuple[int, int],
    width: int,
    font: Any,
    small: Any,
) -> None:
    """Channels in their colours with the values that are black and full, and a bar of so many pixels."""
    left, top = place
    length = max(made.size // 5 // 10 * 10, 5)
    end = width - length * zoom - 60
    for channel, colour in colours_of(made.channels).items():
        contrast = contrasts[channel]
        text = f"{channel}:  {contrast.black:,.4g} - {contrast.full:,.4g}"
        wide = int(draw.textlength(text, small))
        if left + wide > end:
            break
        draw.rectangle((left, top + 3, left + 9, top + 12), fill=colour)
        draw.text((left + 13, top + 2), text, _TEXT, small)
        left += wide + 26
    draw.line((width - length * zoom - _GAP, top + 8, width - _GAP, top + 8), fill=_TEXT, width=3)
    text = f"{length}  px"
    draw.text((width - length * zoom - _GAP - draw.textlength(text, small) - 4, top + 2), text, _TEXT, small)
