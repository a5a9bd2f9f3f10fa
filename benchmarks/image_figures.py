"""Crops of cells, to results_images.md: python -m benchmarks.image_figures

Against reading each image with tifffile and slicing (the floor), and against CytoTable's image export, on ExampleHuman
(from `CYTOTABLE_TEST_DATA`, or `../shared/data`) and on sites of the demo's plate; and the memory of many crops.
"""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure
from benchmarks.machine import description
from benchmarks.results import as_markdown
from benchmarks.stats import megabytes, ratio, spread
from benchmarks.workshop import MeasurementError, Sample, Workshop, workshop
from cytotable_dagster_tests.parity.peer import ROOT
from cytotable_dagster_tests.parity.processes import run_to_end

RESULTS = Path(__file__).with_name("results_images.md")
PEER = ROOT / ".venv-images" / "bin" / "python"
SITES, SIZE, CROPS, MOST_MEMORY = 50, 96, 200_000, 800
_BOX = 256


def converted(folder: Path, source: Path, images: Path) -> Path:
    """The single cells of a plate with their provenance."""
    from cytotable_dagster import convert

    cells = folder / source.stem / "cells.parquet"
    if not cells.exists():
        convert(source, cells, provenance=True, image_dir=images)
    return cells


def many_cells(cells: Path, number: int) -> Path:
    """A table of so many cells: those of a plate again and again, each image's together."""
    import polars as pl

    target = cells.with_name("many.parquet")
    table = pl.read_parquet(cells)
    times = -(-number // len(table))
    repeated = table.select(pl.all().repeat_by(times).explode()).head(number)
    repeated.write_parquet(target)
    return target


def measured(shop: Workshop, cells: Path, images: Path, name: str, pairs: int) -> Iterator[Figure]:
    shop.task("crops", cells=cells, size=SIZE)
    ours, floor = [], []
    for _ in range(pairs):
        ours.append(shop.task("crops", cells=cells, size=SIZE))
        floor.append(shop.task("crops_floor", cells=cells, size=SIZE))
    cost = ratio([s.seconds for s in ours], [s.seconds for s in floor])
    rate = ours[0].facts["crops"] / min(s.seconds for s in ours) / (os.cpu_count() or 1)
    detail = f"ours {spread([s.seconds for s in ours])}; floor {spread([s.seconds for s in floor])}"
    yield Figure(f"{name}, ours / tifffile and slices", str(cost), "at most 1.3", cost.middle <= 1.3, detail)
    count = f"{ours[0].facts['crops']:,} cells of {ours[0].facts['channels']} channels"
    yield Figure(f"{name}, crops a second and core", f"{rate:,.0f}", detail=count)
    boxes = [shop.task("crops", cells=cells, around="box", size=_BOX) for _ in range(pairs)]
    same = shop.task("crops_digests", cells=cells, size=_BOX)
    theirs = _peer(shop, cells, images)
    times = ratio([theirs["seconds"]] * pairs, [s.seconds for s in boxes])
    told = f"theirs {theirs['seconds']:.1f} s; ours {spread([s.seconds for s in boxes])}"
    yield Figure(f"{name}, boxes: CytoTable / ours", str(times), "at least 20", times.middle >= 20, told)
    mine = same.facts["digests"]
    both = mine.keys() & theirs["digests"].keys()
    equal = sum(mine[key] == theirs["digests"][key] for key in both)
    reached = equal == len(both) and len(both) > 0
    yield Figure(f"{name}, boxes with equal pixels", f"{equal:,} of {len(both):,}", "all", reached)


def _peer(shop: Workshop, cells: Path, images: Path) -> dict[str, Any]:
    """CytoTable's export, once, as it takes minutes."""
    request, response = shop.folder / "peer.json", shop.folder / "peer-answer.json"
    workers = os.cpu_count() or 1
    request.write_text(json.dumps({"cells": str(cells), "image_dir": str(images), "workers": workers}))
    script = str(Path(__file__).with_name("peer_crops.py"))
    command = [str(PEER), script, str(request), str(response)]
    finished = run_to_end(command, folder=shop.folder, environment=dict(os.environ), timeout=3600)
    if finished.returncode:
        raise MeasurementError(f"CytoTable's image export failed:\n{finished.output[-2000:]}")
    return dict(json.loads(response.read_text()))


def memory(shop: Workshop, cells: Path, number: int) -> Figure:
    sample: Sample = shop.task("crops", cells=many_cells(cells, number), size=SIZE)
    peak = sample.peak_anonymous / 1e6
    rate = f"{number / sample.seconds / (os.cpu_count() or 1):,.0f} a second and core"
    name = f"peak memory of {number:,} crops of {sample.facts['channels']} channels"
    target = f"below {MOST_MEMORY} MB"
    return Figure(name, megabytes([sample.peak_anonymous]), target, peak < MOST_MEMORY, rate)


def main() -> None:
    from cytotable_dagster.demo.plate import write_plate

    options = _parser().parse_args()
    figures = []
    real = Path(os.environ.get("CYTOTABLE_TEST_DATA", ROOT.parent / "shared" / "data")) / "examplehuman"
    with workshop(options.folder) as shop:
        demo = write_plate((options.folder or shop.folder) / "demo", wells=SITES, sites_per_well=1, image_size=1080)
        cases = [("50 sites of the demo", converted(shop.folder, demo.sqlite, demo.images), demo.images)]
        if real.is_dir():
            cases.insert(0, ("ExampleHuman", converted(shop.folder, real, real), real))
        for name, cells, images in cases:
            figures += list(_said(measured(shop, cells, images, name, options.pairs)))
        figures += list(_said([memory(shop, cases[-1][1], options.crops)]))
    plate = f"ExampleHuman (3 images of 512 x 512), {SITES} sites of the demo (3 images each of 1,080 x 1,080)"
    options.output.write_text(as_markdown(description(), plate, options.pairs, figures, "make bench-images"))


def _said(figures: Any) -> Iterator[Figure]:
    for figure in figures:
        print(f"{figure.name}: {figure.value}  [{figure.target}]  {figure.detail}", flush=True)
        yield figure


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.image_figures", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--crops", type=int, default=CROPS)
    parser.add_argument("--folder", type=Path, help="where to work")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    main()
