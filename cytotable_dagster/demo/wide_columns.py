"""Names of a JUMP plate's features, and what kind of numbers each holds."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations

CHANNELS = ("AGP", "Brightfield", "DNA", "ER", "HighZBF", "LowZBF", "Mito", "RNA")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_SHAPES = _words(
    """
    Area BoundingBoxArea BoundingBoxMaximum_X BoundingBoxMaximum_Y BoundingBoxMinimum_X
    BoundingBoxMinimum_Y Center_X Center_Y Compactness Eccentricity EquivalentDiameter EulerNumber
    Extent FormFactor MajorAxisLength MaxFeretDiameter MaximumRadius MeanRadius MedianRadius
    MinFeretDiameter MinorAxisLength Orientation Perimeter Solidity
    """
)
_INTENSITIES = _words(
    """
    IntegratedIntensityEdge IntegratedIntensity LowerQuartileIntensity MADIntensity MassDisplacement
    MaxIntensityEdge MaxIntensity MeanIntensityEdge MeanIntensity MedianIntensity MinIntensityEdge
    MinIntensity StdIntensityEdge StdIntensity UpperQuartileIntensity
    """
)
_IMAGE_INTENSITIES = _words(
    """
    LowerQuartileIntensity MADIntensity MaxIntensity MeanIntensity MedianIntensity MinIntensity
    PercentMaximal StdIntensity TotalArea TotalIntensity UpperQuartileIntensity
    """
)
_NEIGHBORS = _words(
    """
    AngleBetweenNeighbors FirstClosestDistance FirstClosestObjectNumber NumberOfNeighbors
    PercentTouching SecondClosestDistance SecondClosestObjectNumber
    """
)
_TEXTURES = _words(
    """
    AngularSecondMoment Contrast Correlation DifferenceEntropy DifferenceVariance Entropy InfoMeas1
    InfoMeas2 InverseDifferenceMoment SumAverage SumEntropy SumVariance Variance
    """
)
_NEIGHBOR_SCALES = {"Cells": ("5", "Adjacent"), "Nuclei": ("1",), "Cytoplasm": ()}


@dataclass(frozen=True)
class Kind:
    """How the numbers of a feature are spread.

    `whole`: all are whole numbers. `constant_share` of the values are `constant`, exactly; `null_share` are
    missing. `single`: CellProfiler computes them with 32 bits. `declared`: the column's type in SQLite.
    """

    mean: float
    spread: float
    whole: bool = False
    constant: float = 0.0
    constant_share: float = 0.0
    null_share: float = 0.0
    single: bool = False
    declared: str = "FLOAT"


_COUNT = Kind(900, 500, whole=True, declared="BIGINT")
_PIXEL = Kind(540, 310, whole=True)
_PLACE = Kind(540, 310)
_DEPTH = Kind(0, 0, whole=True, constant_share=1.0)
_LENGTH = Kind(40, 12)
_SHARE = Kind(0.6, 0.2)
_INTENSITY = Kind(0.02, 0.01, single=True)
_GRANULARITY = Kind(6, 5, constant_share=0.21)

_KINDS = {
    "AreaShape": _LENGTH,
    "AreaShape_Area": _COUNT,
    "AreaShape_BoundingBox": _COUNT,
    "AreaShape_Center": _PLACE,
    "AreaShape_Eccentricity": _SHARE,
    "AreaShape_EulerNumber": Kind(1, 0.3, whole=True, declared="BIGINT"),
    "AreaShape_Extent": _SHARE,
    "AreaShape_FormFactor": _SHARE,
    "AreaShape_M": Kind(40, 12, constant=2.0, constant_share=0.1),
    "AreaShape_Orientation": Kind(0, 50),
    "AreaShape_Solidity": _SHARE,
    "AreaShape_Zernike": Kind(0.03, 0.02),
    "Correlation": _SHARE,
    "Correlation_Correlation": Kind(0.3, 0.3, null_share=0.004),
    "Correlation_Manders": Kind(0.8, 0.15, constant=1.0, constant_share=0.64),
    "Correlation_RWC": Kind(0.7, 0.2, null_share=0.01),
    "Count": Kind(180, 0, whole=True),
    "ExecutionTime": Kind(10, 20),
    "Granularity": _GRANULARITY,
    "Height": Kind(1080, 0, whole=True, declared="BIGINT"),
    "Intensity": _INTENSITY,
    "Location_Center": _PLACE,
    "Location_CenterMassIntensity_Z": _DEPTH,
    "Location_Center_Z": _DEPTH,
    "Location_MaxIntensity": _PIXEL,
    "Location_MaxIntensity_Z": _DEPTH,
    "ModuleError": Kind(0, 0, whole=True, declared="BIGINT"),
    "Neighbors": _LENGTH,
    "Neighbors_AngleBetweenNeighbors": Kind(90, 40, null_share=0.02),
    "Neighbors_FirstClosestObjectNumber": Kind(90, 50, whole=True, declared="BIGINT"),
    "Neighbors_NumberOfNeighbors": Kind(4, 1.5, whole=True),
    "Neighbors_PercentTouching": Kind(50, 25, constant_share=0.33),
    "Neighbors_SecondClosestObjectNumber": Kind(90, 50, whole=True, declared="BIGINT"),
    "RadialDistribution": _SHARE,
    "RadialDistribution_FracAtD": Kind(0.25, 0.1, single=True),
    "RadialDistribution_RadialCV": Kind(0.4, 0.3, null_share=0.002),
    "Scaling": Kind(65535, 0, whole=True, declared="BIGINT"),
    "Texture": Kind(4, 3, null_share=0.001),
    "Threshold": _INTENSITY,
    "Width": Kind(1080, 0, whole=True, declared="BIGINT"),
}
"""Start of a feature's name, without the table, -> kind; the longest start that fits counts."""


@dataclass(frozen=True)
class Feature:
    name: str
    kind: Kind


def features_of(table: str, most: int) -> list[Feature]:
    """The features of a table, at most so many, picked evenly from all that a real plate has."""
    names = list(_image_names() if table == "Image" else _object_names(table))
    count = min(most, len(names))
    picked = [names[number * len(names) // count] for number in range(count)]
    prefix = "" if table == "Image" else f"{table}_"
    return [Feature(prefix + name, _kind(name)) for name in picked]


def _kind(name: str) -> Kind:
    return _KINDS[max((start for start in _KINDS if name.startswith(start)), key=len)]


def _object_names(table: str) -> Iterator[str]:
    yield from (f"AreaShape_{name}" for name in _SHAPES)
    yield from (f"AreaShape_Zernike_{n}_{m}" for n in range(10) for m in range(n % 2, n + 1, 2))
    yield from _correlations()
    yield from _granularities()
    yield from (f"Intensity_{name}_{channel}" for name in _INTENSITIES for channel in CHANNELS)
    axes = ("X", "Y", "Z")
    for name in ("CenterMassIntensity", "MaxIntensity"):
        yield from (f"Location_{name}_{axis}_{channel}" for axis in axes for channel in CHANNELS)
    yield from (f"Location_Center_{axis}" for axis in (axes if table != "Cytoplasm" else axes[:2]))
    yield from (f"Neighbors_{name}_{scale}" for name in _NEIGHBORS for scale in _NEIGHBOR_SCALES[table])
    for name in ("FracAtD", "MeanFrac", "RadialCV"):
        rings = range(1, 5)
        yield from (f"RadialDistribution_{name}_{channel}_{ring}of4" for channel in CHANNELS for ring in rings)
    yield from _textures()


def _image_names() -> Iterator[str]:
    yield from (f"Count_{table}" for table in ("Cells", "Cytoplasm", "Nuclei"))
    yield from _correlations()
    yield from (f"ExecutionTime_{number:02d}Module" for number in range(1, 29))
    yield from _granularities()
    yield from (f"{name}_Orig{channel}" for name in ("Height", "Scaling", "Width") for channel in CHANNELS)
    yield from (f"Intensity_{name}_Orig{channel}" for name in _IMAGE_INTENSITIES for channel in CHANNELS)
    yield from (f"ModuleError_{number:02d}Module" for number in range(1, 29))
    yield from _textures()
    yield from (f"Threshold_FinalThreshold_{table}" for table in ("Cells", "Nuclei"))


def _correlations() -> Iterator[str]:
    for name in ("Correlation", "Overlap"):
        yield from (f"Correlation_{name}_{a}_{b}" for a, b in combinations(CHANNELS, 2))
    for name in ("K", "Manders", "RWC"):
        yield from (f"Correlation_{name}_{a}_{b}" for a, b in permutations(CHANNELS, 2))


def _granularities() -> Iterator[str]:
    yield from (f"Granularity_{size}_{channel}" for size in range(1, 17) for channel in CHANNELS)


def _textures() -> Iterator[str]:
    for name in _TEXTURES:
        for channel in CHANNELS:
            for scale in (10, 3, 5):
                yield from (f"Texture_{name}_{channel}_{scale}_{angle:02d}_256" for angle in range(4))
