"""Several plates in one call, against CytoTable converting them one after the other in one process, and against our own
conversions of each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.csv_plates import jump_folder
from benchmarks.pairs import Pairs
from benchmarks.plates import CELLS_PER_IMAGE, PRESET, wide_plate
from benchmarks.workshop import Sample, Workshop

# Plates of about 60 MB each, no two alike: images of the SQLite ones, and sites of the CSV ones.
IMAGES, SITES = (5, 6, 7, 8), (2, 3, 4, 5)


@dataclass(frozen=True)
class Kind:
    """Plates of one kind below `folder`, and what both are asked for."""

    name: str
    folder: Path
    plates: tuple[Path, ...]
    preset: str
    ours: Mapping[str, Any]
    theirs: Mapping[str, Any]


def kinds(folder: Path) -> Iterator[Kind]:
    """The plates, written where they are not there."""
    sqlite, csv = folder / "several-sqlite", folder / "several-csv"
    for own in (sqlite, csv):
        own.mkdir(exist_ok=True)
    plates = tuple(wide_plate(sqlite, images * CELLS_PER_IMAGE) for images in IMAGES)
    yield Kind(f"{len(plates)} SQLite plates", sqlite, plates, PRESET, {}, {})
    plates = tuple(jump_folder(csv, sites) for sites in SITES)
    # The image tables of all of them say that they are of plate P1.
    named = {"plate_pattern": "{plate}/{site}"}
    yield Kind(f"{len(plates)} CSV plates", csv, plates, "cellprofiler_csv", named, {"source_datatype": "csv"})


@dataclass(frozen=True)
class Turns:
    """Samples of CytoTable, of one call of ours, and of a call of ours for each plate."""

    theirs: tuple[Sample, ...]
    together: tuple[Sample, ...]
    each: tuple[Sample, ...]

    @property
    def versus_cytotable(self) -> Pairs:
        return Pairs(self.theirs, self.together)

    @property
    def versus_each(self) -> Pairs:
        return Pairs(self.together, self.each)


def by_turns(shop: Workshop, kind: Kind, pairs: int) -> Turns:
    """All three in turn; a first run of ours warms the page cache and compiles."""
    options = {"preset": kind.preset, **kind.ours}

    def together() -> Sample:
        return shop.ours(kind.folder, joined=False, chunk_size=None, **options)

    def each() -> Sample:
        return shop.task("convert_each", sources=kind.plates, dest=shop.out, preset=kind.preset)

    def theirs() -> Sample:
        return shop.theirs_each(kind.plates, preset=kind.preset, joined=False, **kind.theirs)

    together()
    taken = [(theirs(), together(), each()) for _ in range(pairs)]
    return Turns(*(tuple(samples) for samples in zip(*taken, strict=True)))
