"""Where a cell is in its image: the columns that say it, and the square that is cut out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.support.arguments import mapping_in

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
# Where a cell may be, so that a square around it has whole numbers for sides.
_FARTHEST = 2.0**31


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
    centres = centre_columns(names)
    if not centres and box is None:
        raise OptionError(
            f"{where}: no column says where cells are: neither Nuclei_Location_Center_X nor "
            "..._AreaShape_BoundingBoxMinimum_X; name the box with bbox_column_map="
        )
    return PlaceColumns(centres, box)


def centre_columns(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The pairs of columns among these that say where objects' centres are, the nucleus' first."""
    there = set(names)
    pairs = [
        (f"{prefix}{compartment}_{kind}_Center_X", f"{prefix}{compartment}_{kind}_Center_Y")
        for compartment in (*_CENTRE_OF, *_others(names))
        for kind in ("Location", "AreaShape")
        for prefix in ("", "Metadata_")
    ]
    return tuple(dict.fromkeys(pair for pair in pairs if there.issuperset(pair)))


def _given_box(given: Mapping[str, str], there: set[str], where: str) -> dict[str, str]:
    given = mapping_in("bbox_column_map", given, "{'x_min': ...}")
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
class Cuts:
    """What is cut out of an image for each of several cells: its columns `left` to `right` and rows `top` to `bottom`,
    which may lie outside; `known` says of which cells."""

    left: "np.ndarray"
    right: "np.ndarray"
    top: "np.ndarray"
    bottom: "np.ndarray"
    known: "np.ndarray"


def cuts_at(xs: "np.ndarray", ys: "np.ndarray", size: int) -> Cuts:
    """The squares of that size whose middles are nearest to points."""
    import numpy as np

    known = _whole(xs) & _whole(ys)
    left, top = (np.floor(np.where(known, at, 0) - size / 2 + 0.5).astype(np.int64) for at in (xs, ys))
    return Cuts(left, left + size, top, top + size, known)


def cuts_of(boxes: "np.ndarray") -> Cuts:
    """Boxes, shape (cells, 4): x_min, x_max, y_min, y_max."""
    import numpy as np

    known = np.all(_whole(boxes), axis=1)
    left, right, top, bottom = np.where(known[:, None], boxes, 0).astype(np.int64).T
    return Cuts(left, right, top, bottom, known & (left < right) & (top < bottom))


def _whole(values: "np.ndarray") -> "np.ndarray":
    """Which are numbers, and near enough that whole ones hold their places."""
    import numpy as np

    return np.isfinite(values) & (np.abs(values) <= _FARTHEST)


# Where something is in an array.
Index = tuple[slice, slice]


@dataclass(frozen=True)
class Lying:
    """How cuts lie in images of one size.

    Attributes:
        outside: which have nothing of such an image.
        padded: which have something that is not in it.
        squares: of cuts that are as large as a crop, where in the crops the pixels of the image are that it has.
        boxes: of all others cell and pixels.
    """

    outside: "np.ndarray"
    padded: "np.ndarray"
    squares: tuple[tuple[int | tuple[int, slice, slice], Index], ...]
    boxes: tuple[tuple[int, Index], ...]


def lying(cuts: Cuts, height: int, width: int, size: int) -> Lying:
    """How cuts lie in images of that height and width, and crops of that size in them."""
    import numpy as np

    outside = (cuts.bottom <= 0) | (cuts.right <= 0) | (cuts.top >= height) | (cuts.left >= width)
    over = (cuts.bottom > height) | (cuts.right > width) | (cuts.top < 0) | (cuts.left < 0)
    square = (cuts.right - cuts.left == size) & (cuts.bottom - cuts.top == size)
    bounds = (
        np.maximum(cuts.top, 0),
        np.minimum(cuts.bottom, height),
        np.maximum(cuts.left, 0),
        np.minimum(cuts.right, width),
    )
    inside = [
        (slice(top, bottom), slice(left, right))
        for top, bottom, left, right in zip(*(bound.tolist() for bound in bounds), strict=True)
    ]
    squares: list[tuple[int | tuple[int, slice, slice], Index]] = []
    there = cuts.known & ~outside
    squares += [(cell, inside[cell]) for cell in np.flatnonzero(there & square & ~over).tolist()]
    for cell in np.flatnonzero(there & square & over).tolist():
        rows, columns = inside[cell]
        down, across = int(cuts.top[cell]), int(cuts.left[cell])
        target = (slice(rows.start - down, rows.stop - down), slice(columns.start - across, columns.stop - across))
        squares.append(((cell, *target), inside[cell]))
    others = np.flatnonzero(there & ~square).tolist()
    boxes = tuple((cell, inside[cell]) for cell in others)
    return Lying(cuts.known & outside, cuts.known & over, tuple(squares), boxes)


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
