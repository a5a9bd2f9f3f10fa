"""Size, shape and place of objects, from label images. Names and meanings are CellProfiler's:
https://cellprofiler-manual.s3.amazonaws.com/CellProfiler-4.2.6/modules/measurement.html

Lengths in pixels, areas in pixels, angles in degrees; x is the column, y the row, both from 0.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cytotable_dagster.demo.extras import need

Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]
Column = NDArray[np.int64 | np.float64]

WHOLE_NUMBERS = (
    "Area",
    "BoundingBoxArea",
    "BoundingBoxMaximum_X",
    "BoundingBoxMaximum_Y",
    "BoundingBoxMinimum_X",
    "BoundingBoxMinimum_Y",
    "EulerNumber",
)
REAL_NUMBERS = (
    "Center_X",
    "Center_Y",
    "Compactness",
    "Eccentricity",
    "EquivalentDiameter",
    "Extent",
    "FormFactor",
    "MajorAxisLength",
    "MaxFeretDiameter",
    "MaximumRadius",
    "MeanRadius",
    "MedianRadius",
    "MinFeretDiameter",
    "MinorAxisLength",
    "Orientation",
    "Perimeter",
    "Solidity",
)


def shape_columns(labels: Labels) -> Mapping[str, Column]:
    """`AreaShape_*` and `Location_Center_*` of all objects: name -> one value an object, in order of number.

    `labels` has shape (height, width) and numbers its objects 1, 2, ... without a gap.
    """
    windows = need("scipy.ndimage").find_objects(labels)
    objects = [_shape(labels[window] == number, window) for number, window in enumerate(windows, start=1)]
    columns: dict[str, Column] = {}
    for name in sorted(WHOLE_NUMBERS + REAL_NUMBERS):
        dtype = np.int64 if name in WHOLE_NUMBERS else np.float64
        columns[f"AreaShape_{name}"] = np.array([one[name] for one in objects], dtype=dtype)
    columns["Location_Center_X"] = columns["AreaShape_Center_X"]
    columns["Location_Center_Y"] = columns["AreaShape_Center_Y"]
    return columns


def _shape(mask: Mask, window: tuple[slice, slice]) -> Mapping[str, float]:
    """Features of one object. `mask` is the object in its bounding box, `window` that box in the image."""
    mask = np.pad(mask, 1)
    top, left = window[0].start, window[1].start
    height, width = mask.shape[0] - 2, mask.shape[1] - 2
    ys, xs = np.nonzero(mask)
    area, perimeter = len(ys), _perimeter(mask)
    return {
        "Area": area,
        "BoundingBoxArea": height * width,
        "BoundingBoxMaximum_X": left + width,
        "BoundingBoxMaximum_Y": top + height,
        "BoundingBoxMinimum_X": left,
        "BoundingBoxMinimum_Y": top,
        "EulerNumber": _euler_number(mask),
        "Center_X": left + float(xs.mean()) - 1,
        "Center_Y": top + float(ys.mean()) - 1,
        "Compactness": _spread(ys, xs) * 2 * np.pi / area,
        "EquivalentDiameter": float(np.sqrt(4 * area / np.pi)),
        "Extent": area / (height * width),
        "FormFactor": 4 * np.pi * area / perimeter**2,
        "Perimeter": perimeter,
        **_ellipse(ys, xs),
        **_radii(mask),
        **_hull(ys, xs, area),
    }


def _perimeter(mask: Mask) -> float:
    """Length of the outline by Crofton's formula, with lines in four directions.

    A quarter turn of directions 45 degrees apart, lines 1 pixel apart along the axes and 1/sqrt(2) along the
    diagonals: length = pi/8 * (crossings of rows + of columns + (of both diagonals) / sqrt(2)).
    """
    straight = np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])
    oblique = np.count_nonzero(mask[1:, 1:] != mask[:-1, :-1]) + np.count_nonzero(mask[1:, :-1] != mask[:-1, 1:])
    return float(np.pi / 8 * (straight + oblique / np.sqrt(2)))


def _euler_number(mask: Mask) -> int:
    """Pieces minus holes, pixels taken as closed squares: corners - edges + faces."""
    beside, below = mask[:, 1:] | mask[:, :-1], mask[1:] | mask[:-1]
    corners = beside[1:] | beside[:-1]
    return int(np.count_nonzero(corners) - np.count_nonzero(beside) - np.count_nonzero(below) + mask.sum())


def _spread(ys: NDArray[np.intp], xs: NDArray[np.intp]) -> float:
    """Mean squared distance from the centre. CellProfiler's Compactness is 1 for a disc."""
    return float(ys.var() + xs.var())


def _ellipse(ys: NDArray[np.intp], xs: NDArray[np.intp]) -> Mapping[str, float]:
    """The ellipse with the object's second moments. A pixel is a square, hence the twelfths."""
    yy, xx = ys.var() + 1 / 12, xs.var() + 1 / 12
    xy = float(np.mean((ys - ys.mean()) * (xs - xs.mean())))
    root = np.sqrt(((yy - xx) / 2) ** 2 + xy**2)
    large, small = (yy + xx) / 2 + root, max((yy + xx) / 2 - root, 0.0)
    return {
        "Eccentricity": float(np.sqrt(1 - small / large)),
        "MajorAxisLength": float(4 * np.sqrt(large)),
        "MinorAxisLength": float(4 * np.sqrt(small)),
        "Orientation": float(np.degrees(0.5 * np.arctan2(2 * xy, xx - yy))),
    }


def _radii(mask: Mask) -> Mapping[str, float]:
    depths = need("scipy.ndimage").distance_transform_edt(mask)[mask]
    return {
        "MaximumRadius": float(depths.max()),
        "MeanRadius": float(depths.mean()),
        "MedianRadius": float(np.median(depths)),
    }


def _hull(ys: NDArray[np.intp], xs: NDArray[np.intp], area: int) -> Mapping[str, float]:
    """Solidity, and the widths of the convex hull of the pixels' corners."""
    rows = np.arange(ys.min(), ys.max() + 1)
    first, last = np.full(len(rows), xs.max()), np.zeros(len(rows), dtype=xs.dtype)
    np.minimum.at(first, ys - rows[0], xs)
    np.maximum.at(last, ys - rows[0], xs)
    ends = np.concatenate([np.column_stack([rows, first]), np.column_stack([rows, last + 1])])
    corners = np.concatenate([ends, ends + np.array([1, 0])]).astype(np.float64)
    hull = need("scipy.spatial").ConvexHull(corners)
    vertices = corners[hull.vertices]
    widths = np.abs(hull.equations[:, :2] @ vertices.T + hull.equations[:, 2:]).max(axis=1)
    spans = np.hypot(*(vertices[:, None] - vertices[None]).transpose(2, 0, 1))
    return {
        "Solidity": min(area / float(hull.volume), 1.0),
        "MinFeretDiameter": float(widths.min()),
        "MaxFeretDiameter": float(spans.max()),
    }


def neighbor_columns(labels: Labels, scale: str) -> Mapping[str, Column]:
    """`Neighbors_*_<scale>`: objects that touch by a side or a corner, and how far the nearest are."""
    count = int(labels.max(initial=0))
    touching, border, touched = _contacts(labels, count)
    distances = _distances(labels, count)
    order = np.argsort(distances, axis=1, kind="stable")
    columns: dict[str, Column] = {}
    for rank, name in enumerate(("FirstClosest", "SecondClosest")):
        known = count > rank + 1
        nearest = order[:, rank] if known else np.zeros(count, dtype=np.intp)
        distance = distances[np.arange(count), nearest] if known else np.full(count, np.nan)
        number = nearest + 1 if known else nearest
        columns[f"Neighbors_{name}Distance_{scale}"] = distance
        columns[f"Neighbors_{name}ObjectNumber_{scale}"] = number.astype(np.int64)
    columns[f"Neighbors_NumberOfNeighbors_{scale}"] = touching.sum(axis=1).astype(np.int64)
    columns[f"Neighbors_PercentTouching_{scale}"] = 100 * touched / np.maximum(border, 1)
    return dict(sorted(columns.items()))


def _distances(labels: Labels, count: int) -> NDArray[np.float64]:
    """Between the centres of all pairs of objects; infinite from an object to itself."""
    centres = need("scipy.ndimage").center_of_mass(labels > 0, labels, np.arange(1, count + 1))
    centres = np.asarray(centres, dtype=np.float64).reshape(count, 2)
    distances = np.hypot(*(centres[:, None] - centres[None]).transpose(2, 0, 1))
    np.fill_diagonal(distances, np.inf)
    return distances


def _contacts(labels: Labels, count: int) -> tuple[Mask, NDArray[np.int64], NDArray[np.int64]]:
    """Which objects touch (count x count); and of each the pixels of its outline, and those that touch."""
    touching = np.zeros((count + 1, count + 1), dtype=bool)
    outline, contact = np.zeros(labels.shape, dtype=bool), np.zeros(labels.shape, dtype=bool)
    padded = np.pad(labels, 1)
    height, width = labels.shape
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (0, 0), (0, 2), (2, 0)):
        other = padded[dy : dy + height, dx : dx + width]
        differs = (labels > 0) & (other != labels)
        touches = differs & (other > 0)
        outline |= differs
        contact |= touches
        touching[labels[touches], other[touches]] = True
    border = np.bincount(labels[outline], minlength=count + 1)[1:]
    touched = np.bincount(labels[contact], minlength=count + 1)[1:]
    return touching[1:, 1:], border, touched
