"""Ours and CytoTable's convert() of one file, by turns: ABAB, each in its own process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.stats import Ratio, megabytes, ratio, spread
from benchmarks.workshop import Sample, Workshop


@dataclass(frozen=True)
class Pairs:
    """Samples of both, in the order taken."""

    theirs: tuple[Sample, ...]
    ours: tuple[Sample, ...]

    def seconds(self) -> Ratio:
        """CytoTable's seconds inside convert() over ours."""
        return ratio([sample.seconds for sample in self.theirs], [sample.seconds for sample in self.ours])


def by_turns(first: Callable[[], Sample], second: Callable[[], Sample], pairs: int) -> Pairs:
    taken = [(first(), second()) for _ in range(pairs)]
    return Pairs(tuple(a for a, _ in taken), tuple(b for _, b in taken))


def versus_cytotable(
    shop: Workshop, source: Path, *, preset: str, joined: bool, pairs: int, **peer_options: Any
) -> Pairs:
    """Convert `source` by both, `pairs` times; a first run of ours warms the page cache and compiles."""
    shop.ours(source, joined=joined, preset=preset)
    return by_turns(
        lambda: shop.theirs(source, preset=preset, joined=joined, **peer_options),
        lambda: shop.ours(source, joined=joined, preset=preset),
        pairs,
    )


def table(pairs: Pairs) -> str:
    """A small table of both, and the ratio."""
    lines = [f"{'':10} {'inside convert()':>32} {'whole process':>32} {'peak memory':>12} {'with files':>12}"]
    for name, samples in (("CytoTable", pairs.theirs), ("ours", pairs.ours)):
        lines.append(
            f"{name:10} {spread([s.seconds for s in samples]):>32} {spread([s.whole_seconds for s in samples]):>32} "
            f"{megabytes([s.peak_anonymous for s in samples]):>12} {megabytes([s.peak_resident for s in samples]):>12}"
        )
    lines.append(f"CytoTable / ours, seconds inside convert(): {pairs.seconds()}")
    return "\n".join(lines)
