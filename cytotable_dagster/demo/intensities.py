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
Column = NDArray[np.int64] | NDArray[np.float64]


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
        inside = _statistics(numbers, values, count)
        edge = _statistics(numbers[on_edge], values[on_edge], count)
        features = {
            **{f"Intensity_{name}Intensity": column for name, column in inside.items()},
            **{
                f"Intensity_{name}IntensityEdge": edge[name]
                for name in ("Integrated", "Max", "Mean", "Min", "Std")
            },
            **_places(numbers, values, ys, xs, count),
        }
        columns |= {f"{name}_{channel}": column for name, column in features.items()}
    return dict(sorted(columns.items()))


def correlation_columns(labels: Labels, images: Mapping[str, Pixels]) -> Mapping[str, Column]:
    """`Correlation_*_<channel>_<channel>`: one value an object; NaN where a channel does not vary within it."""
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


def _sums(numbers: NDArray[np.intp], values: Pixels, count: int) -> Pixels:
    return np.bincount(numbers, weights=values, minlength=count)


def _statistics(numbers: NDArray[np.intp], values: Pixels, count: int) -> Mapping[str, Pixels]:
    """Sums and order statistics of the values of each object; every object has a value."""
    sizes = np.bincount(numbers, minlength=count)
    total = _sums(numbers, values, count)
    mean = total / sizes
    quartiles = _quantiles(numbers, values, sizes, (0.0, 0.25, 0.5, 0.75, 1.0))
    deviations = np.abs(values - quartiles[2][numbers])
    return {
        "Integrated": total,
        "LowerQuartile": quartiles[1],
        "MAD": _quantiles(numbers, deviations, sizes, (0.5,))[0],
        "Max": quartiles[4],
        "Mean": mean,
        "Median": quartiles[2],
        "Min": quartiles[0],
        "Std": np.sqrt(_sums(numbers, (values - mean[numbers]) ** 2, count) / sizes),
        "UpperQuartile": quartiles[3],
    }


def _quantiles(
    numbers: NDArray[np.intp], values: Pixels, sizes: NDArray[np.intp], shares: tuple[float, ...]
) -> list[Pixels]:
    """For each share the quantile of every object's values, between the two nearest values linearly."""
    if len(sizes) == 0:
        return [np.empty(0) for _ in shares]
    ordered = values[np.lexsort((values, numbers))]
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
    numbers: NDArray[np.intp], values: Pixels, ys: NDArray[np.intp], xs: NDArray[np.intp], count: int
) -> Mapping[str, Column]:
    """Where the light is: its centre of mass, how far that is from the object's centre, the brightest pixel."""
    sizes, light = np.bincount(numbers, minlength=count), _sums(numbers, values, count)
    mass_x, mass_y = _sums(numbers, values * xs, count) / light, _sums(numbers, values * ys, count) / light
    center_x, center_y = _sums(numbers, xs, count) / sizes, _sums(numbers, ys, count) / sizes
    order = np.lexsort((-values, numbers))
    brightest = order[np.cumsum(sizes) - sizes]
    return {
        "Intensity_MassDisplacement": np.hypot(mass_x - center_x, mass_y - center_y),
        "Location_CenterMassIntensity_X": mass_x,
        "Location_CenterMassIntensity_Y": mass_y,
        "Location_MaxIntensity_X": xs[brightest].astype(np.float64),
        "Location_MaxIntensity_Y": ys[brightest].astype(np.float64),
    }


def _pearson(numbers: NDArray[np.intp], a: Pixels, b: Pixels, count: int) -> Pixels:
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
