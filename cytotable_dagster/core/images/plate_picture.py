"""Pictures of a whole plate: its sites as thumbnails on the plate's layout, and its wells in the colour of a status."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.images.cells import distinct_images
from cytotable_dagster.core.images.colours import Contrast, composite
from cytotable_dagster.core.images.cropping import Crops
from cytotable_dagster.core.images.files import File
from cytotable_dagster.core.images.image import (
    AMBIGUOUS,
    MISMATCH,
    MISSING,
    PRESENT,
    SITE,
    STATUSES,
    UNMAPPED,
    VERIFIED,
    WELL,
    Image,
    Value,
)
from cytotable_dagster.core.images.pixels import ImageError, Opener, read
from cytotable_dagster.core.model.wells import layout_of, place_on_plate, row_letters

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as Picture

# Okabe and Ito's, which are told apart whatever colours one does not see.
_COLOURS = {
    VERIFIED: (0, 158, 115),
    PRESENT: (86, 180, 233),
    MISSING: (213, 94, 0),
    MISMATCH: (204, 121, 167),
    UNMAPPED: (230, 159, 0),
    AMBIGUOUS: (240, 228, 66),
}
_UNKNOWN, _EMPTY, _BACKGROUND, _TEXT = (150, 150, 156), (52, 52, 58), (18, 18, 20), (225, 225, 228)
# The worst of a well's files is what it shows.
_WORST = (MISMATCH, MISSING, AMBIGUOUS, UNMAPPED, None, PRESENT, VERIFIED)
_LEFT, _TOP, _GAP = 26, 22, 2
# Of a picture of wells in pixels, unless they would be too small to be seen; and of a row's or column's name.
_WIDTH, _NAME = 500, 15


def status_picture(images: Sequence[Image], title: str) -> "Picture":
    """The wells of a plate, each in the colour of the worst of its files, and how many files there are of each."""
    from PIL import ImageDraw, ImageFont

    by_well: dict[tuple[int, int], Counter[str | None]] = {}
    for image in images:
        place = place_on_plate(image.well)
        if place is not None:
            by_well.setdefault(place, Counter())[image.status] += 1
    layout = layout_of(by_well)
    edge = min(max((_WIDTH - _LEFT) // layout[1] - _GAP, 7), 26)
    picture, draw, corner = _empty_plate(layout, edge, title, 44)
    font = ImageFont.load_default(11)
    for (row, column), counts in by_well.items():
        worst = next(status for status in _WORST if counts[status])
        left, top = corner[0] + column * (edge + _GAP), corner[1] + row * (edge + _GAP)
        draw.rectangle((left, top, left + edge - 1, top + edge - 1), fill=_COLOURS.get(worst or "", _UNKNOWN))
    counts = Counter(image.status for image in images)
    left, top = _LEFT, picture.height - 36
    assert isinstance(draw, ImageDraw.ImageDraw)
    for status in (*STATUSES, None):
        if counts[status]:
            text = f"{counts[status]:,}  {status or 'not looked at'}"
            wide = int(draw.textlength(text, font)) + 30
            if left + wide > picture.width and left > _LEFT:
                left, top = _LEFT, top + 16
            draw.rectangle((left, top + 2, left + 10, top + 12), fill=_COLOURS.get(status or "", _UNKNOWN))
            draw.text((left + 15, top), text, _TEXT, font)
            left += wide
    return picture


def sites_of(made: Crops) -> list[tuple[Value, Value, Mapping[str, File]]]:
    """Well, site and files of each image that crops of a table may be made of."""
    keys, places = made.files.keys, made.table.places
    if WELL not in places:
        return []
    columns = distinct_images(made.table, []).to_pydict()
    where = [columns[places[WELL]], columns[places[SITE]] if SITE in places else columns[places[WELL]]]
    rows = zip(*where, *(columns[key] for key in keys), strict=True)
    return [(well, site, made.files.files.get(tuple(key), {})) for well, site, *key in rows]


def mosaic(
    sites: Sequence[tuple[Value, Value, Mapping[str, File]]],
    channels: Sequence[str],
    contrasts: Mapping[str, Contrast],
    open_: Opener,
    title: str,
    *,
    edge: int = 36,
    threads: int = 2,
) -> "Picture":
    """The sites of a plate as thumbnails, those of a well side by side, on the plate's layout.

    Args:
        sites: well, site and files by channel; of a well the first that fit into a square of four are shown.
        edge: of a well in pixels.
    """
    from PIL import Image as Pictures

    wells: dict[tuple[int, int], list[tuple[Value, Mapping[str, File]]]] = {}
    for well, site, files in sites:
        place = place_on_plate(well)
        if place is not None:
            wells.setdefault(place, []).append((site, files))
    picture, _, corner = _empty_plate(layout_of(wells), edge, title, 0)
    most = max((len(own) for own in wells.values()), default=1)
    across = 1 if most == 1 else 2
    small = edge // across

    def thumbnail(files: Mapping[str, File]) -> "np.ndarray | None":
        return _thumbnail(files, channels, contrasts, open_, small)

    shown = [
        (place, number, files)
        for place, own in wells.items()
        for number, (_, files) in enumerate(sorted(own, key=lambda item: _in_order(item[0]))[: across * across])
    ]
    with ThreadPoolExecutor(threads) as pool:
        # A few ahead, for an image is large and a thumbnail small.
        for (place, number, _), made in zip(shown, pool.map(thumbnail, (files for *_, files in shown)), strict=True):
            if made is not None:
                left = corner[0] + place[1] * (edge + _GAP) + number % across * small
                top = corner[1] + place[0] * (edge + _GAP) + number // across * small
                picture.paste(Pictures.fromarray(made), (left, top))
    return picture


def _in_order(site: Value) -> tuple[bool, float, str]:
    text = str(site)
    return not text.isdigit(), float(text) if text.isdigit() else 0.0, text


def _thumbnail(
    files: Mapping[str, File],
    channels: Sequence[str],
    contrasts: Mapping[str, Contrast],
    open_: Opener,
    edge: int,
) -> "np.ndarray | None":
    import numpy as np

    layers = np.zeros((len(channels), edge, edge), np.float32)
    seen = False
    for place, channel in enumerate(channels):
        file = files.get(channel)
        if file is None or file.problem is not None or file.uri is None:
            continue
        try:
            layers[place] = _shrunk(read(file.uri, open_), edge)
            seen = True
        except ImageError:
            continue
    return composite(layers, channels, contrasts) if seen else None


def _shrunk(image: "np.ndarray", edge: int) -> "np.ndarray":
    """An image's mean in each square of a thumbnail; of what is no square the middle."""
    import numpy as np

    side = min(image.shape)
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    step = side // edge
    if step < 1:
        rows = np.arange(edge) * side // edge
        return image[top : top + side, left : left + side][rows][:, rows].astype(np.float32)
    part = image[top : top + step * edge, left : left + step * edge]
    return part.reshape(edge, step, edge, step).mean(axis=(1, 3), dtype=np.float32)


def _empty_plate(layout: tuple[int, int], edge: int, title: str, below: int) -> "tuple[Picture, Any, tuple[int, int]]":
    """A plate's empty wells with the names of rows and columns, and where the first well is."""
    from PIL import Image as Pictures
    from PIL import ImageDraw, ImageFont

    rows, columns = layout
    font = ImageFont.load_default(11)
    top = _TOP + 20 * bool(title)
    width, height = _LEFT + columns * (edge + _GAP) + 6, top + rows * (edge + _GAP) + 6 + below
    picture = Pictures.new("RGB", (max(width, 240), height), _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    if title:
        draw.text((_LEFT, 4), title, _TEXT, ImageFont.load_default(13))
    step = -(-_NAME // (edge + _GAP))
    for column in range(0, columns, step):
        text = str(column + 1)
        at = _LEFT + column * (edge + _GAP) + (edge - draw.textlength(text, font)) / 2
        draw.text((at, top - 15), text, _TEXT, font)
    for row in range(rows):
        if row % step == 0:
            draw.text((6, top + row * (edge + _GAP) + edge / 2 - 7), row_letters(row), _TEXT, font)
        for column in range(columns):
            left, at = _LEFT + column * (edge + _GAP), top + row * (edge + _GAP)
            draw.rectangle((left, at, left + edge - 1, at + edge - 1), fill=_EMPTY)
    return picture, draw, (_LEFT, top)
