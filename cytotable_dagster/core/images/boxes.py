"""Where a cell is in its image: the columns that say it, and the square that is cut out."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import OptionError

if TYPE_CHECKING:
    import numpy as np

CENTRE, BOX = "centre", "box"
AROUND = (CENTRE, BOX)
PAD, RESIZE = "pad", "resize"
FIT = (PAD, RESIZE)

_SIDES = ("x_min", "x_max", "y_min", "y_max")
# In CytoTable's order.
_BOX_OF = ("Cytoplasm_", "Nuclei_", "Cells_", "")
_CENTRE_OF = ("Nuclei", "Cells", "Cytoplasm")


@dataclass(frozen=True)
class PlaceColumns:
    """Columns that say where a cell is: pairs of x and y, the first that has a value counts; and those of its box, by
    `x_min`, `x_max`, `y_min` and `y_max`, if there are any."""

    centres: tuple[tuple[str, str], ...]
    box: Mapping[str, str] | None

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*(c for pair in self.centres for c in pair), *(self.box or {}).values()]))


def place_columns(names: Sequence[str], bbox_column_map: Mapping[str, str] | None, where: str) -> PlaceColumns:
    """The columns among these that say where cells are.

    Raises:
        OptionError: there are none, or the map names one that is not there.
    """
    there = set(names)
    box = _given_box(bbox_column_map, there, where) if bbox_column_map is not None else _box(there)
    pairs = [
        (f"{prefix}{compartment}_{kind}_Center_X", f"{prefix}{compartment}_{kind}_Center_Y")
        for compartment in (*_CENTRE_OF, *_others(names))
        for kind in ("Location", "AreaShape")
        for prefix in ("", "Metadata_")
    ]
    centres = tuple(dict.fromkeys(pair for pair in pairs if there.issuperset(pair)))
    if not centres and box is None:
        raise OptionError(
            f"{where}: no column says where cells are: neither Nuclei_Location_Center_X nor "
            "..._AreaShape_BoundingBoxMinimum_X; name the box with bbox_column_map="
        )
    return PlaceColumns(centres, box)


def _given_box(given: Mapping[str, str], there: set[str], where: str) -> dict[str, str]:
    if {*given} != {*_SIDES}:
        raise OptionError(f"bbox_column_map: {', '.join(_SIDES)} are expected, and nothing else")
    for side, column in given.items():
        if column not in there:
            raise OptionError(f"bbox_column_map: {where} has no column {column!r} for {side}")
    return dict(given)


def _box(there: set[str]) -> dict[str, str] | None:
    for prefix in _BOX_OF:
        start = f"{prefix}AreaShape_BoundingBox"
        names = [f"{start}{bound}_{axis}" for axis in ("X", "Y") for bound in ("Minimum", "Maximum")]
        if there.issuperset(names):
            return dict(zip(_SIDES, names, strict=True))
    return None


def _others(names: Iterable[str]) -> list[str]:
    """Compartments of any other name that have a location."""
    end = "_Location_Center_X"
    found = [name.removesuffix(end).removeprefix("Metadata_") for name in names if name.endswith(end)]
    return [name for name in dict.fromkeys(found) if name not in _CENTRE_OF]


@dataclass(frozen=True)
class Cut:
    """What is cut out of an image: rows `top` to `bottom`, columns `left` to `right` of it, which may lie outside."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left


def cut_at(x: float, y: float, size: int) -> Cut:
    """The square of that size whose middle is nearest to a point."""
    top, left = math.floor(y - size / 2 + 0.5), math.floor(x - size / 2 + 0.5)
    return Cut(top, left, top + size, left + size)


def cut_out(image: "np.ndarray", cut: Cut, out: "np.ndarray") -> bool:
    """Copy a cut of an image into an array of its size; what lies outside is left as it is. Whether something did."""
    height, width = image.shape
    top, left = max(cut.top, 0), max(cut.left, 0)
    bottom, right = min(cut.bottom, height), min(cut.right, width)
    if top < bottom and left < right:
        out[top - cut.top : bottom - cut.top, left - cut.left : right - cut.left] = image[top:bottom, left:right]
    return (top, left, bottom, right) != (cut.top, cut.left, cut.bottom, cut.right)


def is_outside(cut: Cut, height: int, width: int) -> bool:
    """Whether a cut has nothing of an image of that size."""
    return cut.bottom <= 0 or cut.right <= 0 or cut.top >= height or cut.left >= width


def fitted(pixels: "np.ndarray", size: int, fit: str) -> "tuple[np.ndarray, float]":
    """A box's pixels in the middle of a square, and by how much they were scaled; not at all where they are
    padded and have room.
    """
    import numpy as np

    height, width = pixels.shape
    longest = max(height, width)
    scale = 1.0 if fit == PAD and longest <= size else size / longest
    if scale != 1.0:
        pixels = _resized(pixels, max(round(height * scale), 1), max(round(width * scale), 1))
    out = np.zeros((size, size), pixels.dtype)
    top, left = (size - pixels.shape[0]) // 2, (size - pixels.shape[1]) // 2
    out[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return out, scale


def _resized(pixels: "np.ndarray", height: int, width: int) -> "np.ndarray":
    import numpy as np
    from PIL import Image

    made = Image.fromarray(pixels.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    found = np.asarray(made)
    if np.issubdtype(pixels.dtype, np.integer):
        found = np.rint(found)
    return found.astype(pixels.dtype)
