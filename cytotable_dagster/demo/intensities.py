"""Brightness of objects in each channel, and how channels go together. Names and meanings are CellProfiler's:
https://cellprofiler-manual.s3.amazonaws.com/CellProfiler-4.2.6/modules/measurement.html

Intensities are between 0 and 1 (a 16-bit count divided by 65535), places in pixels from 0.
"""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cytotable_dagster.demo.extras import need

Labels = NDArray[np.int32]
Pixels = NDArray[np.float64]
Numbers = NDArray[np.integer]
Column = NDArray[np.int64 | np.float64]

HALF_COUNTS = 2 * 65535


def intensity_columns(labels: Labels, images: Mapping[str, Pixels]) -> Mapping[str, Column]:
    """`Intensity_*` and `Location_*Intensity_*` of all objects, every channel: name -> one value an object.

    `labels` and the images have shape (height, width); objects are numbered 1, 2, ... without a gap.
    """
    count = int(labels.max(initial=0))
    ys, xs = np.nonzero(labels)
    numbers = labels[ys, xs] - 1
    on_edge = _edge(labels)[ys, xs]
    columns: dict[str, Column] = {}
    for channel, image in images.items():
        values = image[ys, xs]
        inside = {**_moments(numbers, values, count), **_order_statistics(numbers, values, count)}
        edge = _moments(numbers[on_edge], values[on_edge], count)
        features = {
            **{f"Intensity_{name}Intensity": column for name, column in inside.items()},
            **{f"Intensity_{name}IntensityEdge": column for name, column in edge.items()},
            **_places(numbers, values, inside["Max"], ys, xs, count),
        }
        columns |= {f"{name}_{channel}": column for name, column in features.items()}
    return dict(sorted(columns.items()))


def correlation_columns(labels: Labels, images: Mapping[str, Pixels]) -> Mapping[str, Column]:
    """`Correlation_*_<channel>_<channel>`: one value an object; NaN where a channel does not vary."""
    count = int(labels.max(initial=0))
    inside = labels > 0
    numbers = labels[inside] - 1
    columns: dict[str, Column] = {}
    for first, second in combinations(sorted(images), 2):
        a, b = images[first][inside], images[second][inside]
        aa, bb, ab = (_sums(numbers, v * w, count) for v, w in ((a, a), (b, b), (a, b)))
        with np.errstate(divide="ignore", invalid="ignore"):
            columns[f"Correlation_Correlation_{first}_{second}"] = _pearson(numbers, a, b, count)
            columns[f"Correlation_Overlap_{first}_{second}"] = ab / np.sqrt(aa * bb)
            columns[f"Correlation_K_{first}_{second}"] = ab / aa
            columns[f"Correlation_K_{second}_{first}"] = ab / bb
    return dict(sorted(columns.items()))


def _sums(numbers: Numbers, values: Pixels | Numbers, count: int) -> Pixels:
    return np.asarray(np.bincount(numbers, weights=values, minlength=count), dtype=np.float64)


def _moments(numbers: Numbers, values: Pixels, count: int) -> Mapping[str, Pixels]:
    """Sum, mean, spread and range of the values of each object; every object has a value."""
    sizes, total = np.bincount(numbers, minlength=count), _sums(numbers, values, count)
    mean = total / sizes
    lowest, highest = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(lowest, numbers, values)
    np.maximum.at(highest, numbers, values)
    return {
        "Integrated": total,
        "Max": highest,
        "Mean": mean,
        "Min": lowest,
        "Std": np.sqrt(_sums(numbers, (values - mean[numbers]) ** 2, count) / sizes),
    }


def _order_statistics(numbers: Numbers, values: Pixels, count: int) -> Mapping[str, Pixels]:
    lower, median, upper = _quantiles(numbers, values, count, (0.25, 0.5, 0.75))
    (deviation,) = _quantiles(numbers, np.abs(values - median[numbers]), count, (0.5,))
    return {"LowerQuartile": lower, "MAD": deviation, "Median": median, "UpperQuartile": upper}


def _quantiles(numbers: Numbers, values: Pixels, count: int, shares: tuple[float, ...]) -> list[Pixels]:
    """For each share the quantile of every object's values, between the two nearest values linearly."""
    # Values of 16-bit images, and their distances from medians, are whole numbers of half counts. Number and
    # value packed into one integer sort ten times as fast as by two keys.
    packed = np.sort((numbers.astype(np.int64) << 32) | np.rint(values * HALF_COUNTS).astype(np.int64))
    ordered = (packed & 0xFFFFFFFF) / HALF_COUNTS
    sizes = np.bincount(numbers, minlength=count)
    starts = np.cumsum(sizes) - sizes
    quantiles = []
    for share in shares:
        position = (sizes - 1) * share
        low = np.floor(position).astype(np.intp)
        high = np.minimum(low + 1, sizes - 1)
        part = position - low
        quantiles.append(ordered[starts + low] * (1 - part) + ordered[starts + high] * part)
    return quantiles


def _places(
    numbers: Numbers,
    values: Pixels,
    highest: Pixels,
    ys: Numbers,
    xs: Numbers,
    count: int,
) -> Mapping[str, Column]:
    """Where the light is: its centre of mass, how far that is from the object's, the brightest pixel."""
    sizes, light = np.bincount(numbers, minlength=count), _sums(numbers, values, count)
    mass_x, mass_y = _sums(numbers, values * xs, count) / light, _sums(numbers, values * ys, count) / light
    center_x, center_y = _sums(numbers, xs, count) / sizes, _sums(numbers, ys, count) / sizes
    bright = np.flatnonzero(values == highest[numbers])
    _, first = np.unique(numbers[bright], return_index=True)
    brightest = bright[first]
    return {
        "Intensity_MassDisplacement": np.hypot(mass_x - center_x, mass_y - center_y),
        "Location_CenterMassIntensity_X": mass_x,
        "Location_CenterMassIntensity_Y": mass_y,
        "Location_MaxIntensity_X": xs[brightest].astype(np.float64),
        "Location_MaxIntensity_Y": ys[brightest].astype(np.float64),
    }


def _pearson(numbers: Numbers, a: Pixels, b: Pixels, count: int) -> Pixels:
    sizes = np.bincount(numbers, minlength=count)
    a = a - (_sums(numbers, a, count) / sizes)[numbers]
    b = b - (_sums(numbers, b, count) / sizes)[numbers]
    aa, bb = _sums(numbers, a * a, count), _sums(numbers, b * b, count)
    # A channel that does not vary leaves rounding errors of about 1e-17 a pixel, not zero.
    varies = (aa > 1e-20 * sizes) & (bb > 1e-20 * sizes)
    return np.where(varies, _sums(numbers, a * b, count) / np.sqrt(aa * bb), np.nan)


def _edge(labels: Labels) -> NDArray[np.bool_]:
    """Pixels of objects with a pixel of something else at one of their four sides."""
    ndimage = need("scipy.ndimage")
    cross = ndimage.generate_binary_structure(2, 1)
    lowest = ndimage.minimum_filter(labels, footprint=cross, mode="constant")
    highest = ndimage.maximum_filter(labels, footprint=cross, mode="constant")
    return (labels > 0) & ((lowest != labels) | (highest != labels))


def image_columns(image: Pixels, channel: str) -> Mapping[str, float]:
    """`Intensity_*_<channel>` of a whole image."""
    lower, median, upper = np.quantile(image, (0.25, 0.5, 0.75))
    return {
        f"Intensity_LowerQuartileIntensity_{channel}": float(lower),
        f"Intensity_MADIntensity_{channel}": float(np.median(np.abs(image - median))),
        f"Intensity_MaxIntensity_{channel}": float(image.max()),
        f"Intensity_MeanIntensity_{channel}": float(image.mean()),
        f"Intensity_MedianIntensity_{channel}": float(median),
        f"Intensity_MinIntensity_{channel}": float(image.min()),
        f"Intensity_PercentMaximal_{channel}": 100 * float(np.mean(image == image.max())),
        f"Intensity_StdIntensity_{channel}": float(image.std()),
        f"Intensity_TotalArea_{channel}": int(image.size),
        f"Intensity_TotalIntensity_{channel}": float(image.sum()),
        f"Intensity_UpperQuartileIntensity_{channel}": float(upper),
    }
