"""Medians, and ratios with their spread."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Ratio:
    """The ratio of two medians, and the least and the greatest ratio of any pair."""

    middle: float
    least: float
    greatest: float

    def __str__(self) -> str:
        return f"{self.middle:.3g} ({self.least:.3g} to {self.greatest:.3g})"


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """The ratio of measurements that were taken in pairs."""
    each = [a / b for a, b in zip(numerators, denominators, strict=True)]
    return Ratio(median(numerators) / median(denominators), min(each), max(each))


def spread(values: Sequence[float], unit: str = "s") -> str:
    """The median, and the least and the greatest."""
    return f"{median(values):.3g} {unit} ({min(values):.3g} to {max(values):.3g})"


def megabytes(values: Sequence[int]) -> str:
    return f"{max(values) / 1e6:,.0f} MB"
