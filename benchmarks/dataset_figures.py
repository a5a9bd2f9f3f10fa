"""Datasets of many plates, to results_dataset.md: python -m benchmarks.dataset_figures

A dataset of 100 plates of 50 MB: what one plate more costs, what reading it costs, and the memory of both.
"""

import argparse
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.machine import description
from benchmarks.plates import CELLS_PER_IMAGE, wide_plate
from benchmarks.results import as_markdown
from benchmarks.stats import megabytes, ratio, spread
from benchmarks.workshop import Sample, Workshop, workshop

RESULTS = Path(__file__).with_name("results_dataset.md")
PLATES, CELLS = 100, 990
# The one column that is averaged.
COLUMN = "Cells_AreaShape_Area"


def plates_of(folder: Path, number: int, cells: int) -> Path:
    """A folder of plates that differ in their wells' plate, and so in their bytes; written unless they are there."""
    first = wide_plate(folder, cells, cells_per_image=CELLS_PER_IMAGE // 4)
    target = folder / f"plates-{number}-{first.stem}"
    target.mkdir(exist_ok=True)
    for place in range(number + 1):
        path = target / f"P{place:04d}.sqlite"
        if not path.exists():
            shutil.copyfile(first, path)
            with sqlite3.connect(path) as link:
                link.execute("UPDATE Image SET Metadata_Plate = ?", [path.stem])
            link.close()
    return target


def measured(shop: Workshop, plates: Path, number: int, pairs: int) -> Iterator[Figure]:
    """The figures, each as it is known."""
    *members, last = sorted(plates.glob("*.sqlite"))
    dataset = shop.folder / "dataset"
    shop.ours(last, joined=False)
    made = shop.task("dataset_add", source_path=[str(path) for path in members], dataset_path=str(dataset))
    each = made.seconds / number
    yield Figure(f"{number} plates into a new dataset", f"{made.seconds:.1f} s", detail=f"{each:.2f} s a plate")
    alone, added = [], []
    for _ in range(pairs):
        alone.append(shop.ours(last, joined=False, chunk_size=None))
        added.append(shop.task("dataset_add", source_path=str(last), dataset_path=str(dataset)))
        shop.task("dataset_remove", dataset_path=str(dataset), plate=last.stem)
    cost = ratio([s.seconds for s in added], [s.seconds for s in alone])
    detail = f"adding {spread([s.seconds for s in added])}; alone {spread([s.seconds for s in alone])}"
    yield Figure("one plate more / converting it alone", str(cost), "at most 1.5", cost.middle <= 1.5, detail)
    yield _memory("peak memory of adding one more", added, alone)
    yield _memory(f"peak memory of adding {number}", [made], alone)

    whole = shop.task("convert", source_path=[str(path) for path in members], dest_path=str(shop.out / "one"))
    yield _memory(f"peak memory of {number} plates to one file a table", [whole], alone)
    one = shop.folder / "one"
    shutil.move(shop.out / "one", one)
    files = {"dataset": f"{dataset}/Cells/*.parquet", "one file": f"{one}/Cells.parquet"}
    times: dict[str, list[Sample]] = {name: [] for name in files}
    for _ in range(2 * pairs):
        for name, address in files.items():
            times[name].append(shop.task("duckdb_average", address=address, column=COLUMN))
    if len({tuple(sample.facts["answer"]) for samples in times.values() for sample in samples}) > 1:
        raise SystemExit("the dataset and the one file do not have the same rows")
    read = ratio(*([sample.seconds for sample in times[name]] for name in files))
    detail = "; ".join(f"{name} {spread([s.seconds for s in samples])}" for name, samples in times.items())
    yield Figure(
        "DuckDB, count(*) and avg of a column: dataset / one file", str(read), "at most 2", read.middle <= 2, detail
    )


def _memory(name: str, samples: list[Sample], alone: list[Sample]) -> Figure:
    ours, theirs = ([s.peak_anonymous for s in taken] for taken in (samples, alone))
    detail = f"{megabytes(ours)}; one plate alone {megabytes(theirs)}"
    return Figure(
        f"{name} / of converting one alone", f"{max(ours) / max(theirs):.2f}", "as for one plate", None, detail
    )


def main() -> None:
    options = _parser().parse_args()
    figures = []
    with workshop(options.folder) as shop:
        plates = plates_of(options.folder or shop.folder, options.plates, options.cells)
        size = sum(path.stat().st_size for path in plates.iterdir()) / (options.plates + 1) / 1e6
        for figure in measured(shop, plates, options.plates, options.pairs):
            print(f"{figure.name}: {figure.value}  [{figure.target}]  {figure.detail}", flush=True)
            figures.append(figure)
    plate = f"{options.plates} plates of {size:.0f} MB each, about {options.cells} cells, 1,930 columns a table"
    options.output.write_text(as_markdown(description(), plate, options.pairs, figures, "make bench-dataset"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dataset_figures", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--plates", type=int, default=PLATES)
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--folder", type=Path, help="where to work; plates are kept there between runs")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    main()
