"""Crops of cells, to results_images.md: python -m benchmarks.image_figures

Against reading each image with tifffile and slicing (the floor), and against CytoTable's image export, on ExampleHuman
(from `CYTOTABLE_TEST_DATA`, or `../shared/data`) and on sites of the demo's plate; and the memory of many crops, which
take 92 kB of disk each.
"""

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Figure
from benchmarks.machine import description
from benchmarks.results import as_markdown
from benchmarks.stats import megabytes, ratio, spread
from benchmarks.workshop import MeasurementError, Workshop, workshop
from cytotable_dagster.core.images import FILE
from cytotable_dagster_tests.parity.peer import ROOT
from cytotable_dagster_tests.parity.processes import run_to_end

RESULTS = Path(__file__).with_name("results_images.md")
PEER = ROOT / ".venv-images" / "bin" / "python"
SITES, SIZE, CROPS, MOST_MEMORY = 50, 96, 200_000, 800
_BOX = 256
LARGE, LARGE_SITES, _CHANNELS = 1080, 8, 5


def converted(folder: Path, source: Path, images: Path) -> Path:
    """The single cells of a plate with their provenance."""
    from cytotable_dagster import convert

    cells = folder / source.stem / "cells.parquet"
    convert(source, cells, provenance=True, image_dir=images)
    return cells


def many_cells(cells: Path, number: int) -> Path:
    """A table of so many cells of five channels beside its provenance: the cells of a plate again and again, and its
    images under more names."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    folder = cells.parent / "many"
    (folder / FILE).parent.mkdir(parents=True)
    table = pq.read_table(cells)
    pq.write_table(table.take(np.arange(number) * table.num_rows // number), folder / "cells.parquet")
    files = pq.read_table(cells.parent / FILE)
    first = files.filter(pc.equal(files["channel"], files["channel"][0]))
    there = len(set(files["channel"].to_pylist()))
    for extra in range(_CHANNELS - there):
        copies = []
        for place, uri in enumerate(first["uri"].to_pylist()):
            copies.append(str(folder / f"{place}_{extra}.tiff"))
            shutil.copyfile(uri, copies[-1])
        other = first.set_column(first.column_names.index("uri"), "uri", pa.array(copies))
        names = pa.array([f"Extra{extra}"] * first.num_rows)
        files = pa.concat_tables([files, other.set_column(first.column_names.index("channel"), "channel", names)])
    pq.write_table(files, folder / FILE)
    return folder / "cells.parquet"


def measured(shop: Workshop, cells: Path, images: Path, name: str, pairs: int) -> Iterator[Figure]:
    facts = shop.task("crops_and_floor", cells=cells, size=SIZE, pairs=pairs).facts
    cost = ratio(facts["ours"], facts["floor"])
    detail = f"processor time: ours {spread(facts['ours'])}; floor {spread(facts['floor'])}"
    yield Figure(f"{name}, ours / tifffile and slices", str(cost), "at most 1.3", cost.middle <= 1.3, detail)
    rate = facts["crops"] / median(facts["ours"])
    count = f"{facts['crops']:,} cells of {facts['channels']} channels"
    yield Figure(f"{name}, crops a second and core", f"{rate:,.0f}", detail=count)
    boxes = [shop.task("crops", cells=cells, around="box", size=_BOX) for _ in range(pairs)]
    same = shop.task("crops_digests", cells=cells, size=_BOX)
    theirs = _peer(shop, cells, images)
    times = ratio([theirs["seconds"]] * pairs, [s.seconds for s in boxes])
    told = f"theirs {theirs['seconds']:.1f} s; ours {spread([s.seconds for s in boxes])}; processor time "
    told += f"{theirs['cpu']:.1f} s and {spread([s.facts['cpu'] for s in boxes])}"
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
    """Crops into Lance, as much as a plate's sample."""
    table = many_cells(cells, number)
    sample = shop.task("crops_saved", cells=table, dest=shop.out / "many.lance", size=SIZE)
    peak = sample.peak_anonymous / 1e6
    rate = f"{number / sample.facts['cpu']:,.0f} crops a second of processor time"
    name = f"peak memory of {number:,} crops of {sample.facts['channels']} channels into Lance"
    return Figure(name, megabytes([sample.peak_anonymous]), f"below {MOST_MEMORY} MB", peak < MOST_MEMORY, rate)


def main() -> None:
    from cytotable_dagster.demo.plate import write_plate

    options = _parser().parse_args()
    figures = []
    real = Path(os.environ.get("CYTOTABLE_TEST_DATA", ROOT.parent / "shared" / "data")) / "examplehuman"
    with workshop(options.folder) as shop:
        demo = write_plate(shop.folder / "demo", wells=SITES, sites_per_well=1)
        cases = [(f"{SITES} sites of the demo", demo.sqlite, demo.images)]
        if real.is_dir():
            cases.insert(0, ("ExampleHuman", real, real))
        for name, source, images in cases:
            cells = converted(shop.folder / "tables", source, images)
            figures += list(_said(measured(shop, cells, images, name, options.pairs)))
        large = write_plate(shop.folder / "large", wells=LARGE_SITES, sites_per_well=1, image_size=LARGE)
        cells = converted(shop.folder / "large", large.sqlite, large.images)
        figures += list(_said([memory(shop, cells, options.crops)]))
    plate = (
        f"ExampleHuman (3 images of 512 x 512), {SITES} sites of the demo (3 images each of 256 x 256); memory: "
        f"{LARGE_SITES} sites of {_CHANNELS} images of {LARGE:,} x {LARGE:,}"
    )
    options.output.write_text(as_markdown(description(), plate, options.pairs, figures, "make bench-images"))


def _said(figures: Any) -> Iterator[Figure]:
    for figure in figures:
        print(f"{figure.name}: {figure.value}  [{figure.target}]  {figure.detail}", flush=True)
        yield figure


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.image_figures", description=__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--crops", type=int, default=CROPS)
    parser.add_argument("--folder", type=Path, help="where to work")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    main()
