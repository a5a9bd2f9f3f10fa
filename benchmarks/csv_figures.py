"""Plates of CSV files, joined, against CytoTable and pandas, to results_csv.md: python -m benchmarks.csv_figures

Copies of ExampleHuman come from the folder of real files (`CYTOTABLE_TEST_DATA`, or `../shared/data`); without it only
the folder of a JUMP shape is measured.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.csv_plates import SITES, copies_of, jump_folder
from benchmarks.figures import Figure
from benchmarks.machine import description
from benchmarks.results import as_markdown
from benchmarks.stats import megabytes, ratio, spread
from benchmarks.workshop import Sample, Workshop, workshop
from cytotable_dagster_tests.parity.peer import ROOT, PeerError

RESULTS = Path(__file__).with_name("results_csv.md")
PRESET = "cellprofiler_csv"
# An export of one site, in the folder of real files.
ONE_SITE = "examplehuman"
COPIES = (1, 64, 1024)
# What CytoTable is asked for at the most.
PEER_SITES, PEER_COPIES = 64, 64
_MEASURED = (
    "Times are those inside the call: ours is `convert()` with what it imports when called (pyarrow, pydantic), pandas",
    "and CytoTable are imported before. `whole process` counts start and every import of both, as a script would take.",
    "CytoTable ran once for each plate that it was asked for.",
)


def measured(shop: Workshop, source: Path, pairs: int, peer_runs: int) -> Iterator[Figure]:
    """Ours and pandas by turns, and CytoTable in the first of them, as it takes minutes where they take seconds."""
    shop.ours(source, joined=True, preset=PRESET)
    ours, pandas, theirs = [], [], []
    for turn in range(pairs):
        ours.append(shop.ours(source, joined=True, preset=PRESET, chunk_size=None))
        pandas.append(shop.task("pandas_join", source=str(source), dest=str(shop.out / "joined.parquet")))
        if turn < peer_runs:
            theirs.append(shop.theirs(source, preset=PRESET, joined=True, source_datatype="csv"))
    faster = ratio([s.seconds for s in pandas], [s.seconds for s in ours])
    yield Figure(f"{source.name}, pandas / ours", str(faster), "above 1", faster.middle > 1, _told(pandas, ours))
    whole = ratio([s.whole_seconds for s in pandas], [s.whole_seconds for s in ours])
    yield Figure(f"{source.name}, pandas / ours, whole process", str(whole), "above 1", whole.middle > 1)
    if source.name == f"{ONE_SITE}-1":
        inside, process = [s.seconds for s in ours], [s.whole_seconds for s in ours]
        yield Figure("one small site, inside convert()", spread(inside), "0.1 s", median(inside) <= 0.1)
        yield Figure("one small site, whole process", spread(process), "0.6 s", median(process) <= 0.6)
    share = max(s.peak_anonymous for s in ours) / max(s.peak_anonymous for s in pandas)
    yield Figure(f"{source.name}, memory of ours / of pandas", f"{share:.2f}", "at most 0.5 at the largest", None)
    if theirs:
        times = ratio([s.seconds for s in theirs], [s.seconds for s in ours[: len(theirs)]])
        jump = source.name.startswith("jump")
        target, reached = ("at least 20", times.middle >= 20) if jump else ("", None)
        yield Figure(f"{source.name}, CytoTable / ours", str(times), target, reached, _told(theirs, ours))


def _told(others: list[Sample], ours: list[Sample]) -> str:
    told = (
        f"{name} {spread([s.seconds for s in samples])}, {megabytes([s.peak_anonymous for s in samples])}"
        for name, samples in (("theirs", others), ("ours", ours))
    )
    return "; ".join(told)


def main() -> None:
    options = _parser().parse_args()
    figures = []
    data = Path(os.environ.get("CYTOTABLE_TEST_DATA", ROOT.parent / "shared" / "data"))
    with workshop(options.folder) as shop:
        plates = options.folder or shop.folder
        sources = [(jump_folder(plates, sites), sites <= PEER_SITES) for sites in (options.sites, *options.peer_sites)]
        if (data / ONE_SITE).is_dir():
            sources += [
                (copies_of(data / "examplehuman", plates, times, sites=sites), times <= PEER_COPIES and not sites)
                for sites in (False, True)
                for times in options.copies
                if times > 1 or not sites
            ]
        for source, peer in sources:
            for figure in measured(shop, source, options.pairs, options.cytotable if peer else 0):
                print(f"{figure.name}: {figure.value}  [{figure.target}]  {figure.detail}", flush=True)
                figures.append(figure)
    plate = (
        f"{options.sites} sites of 150 objects, 1,900 columns a table; copies of ExampleHuman (289 objects), "
        "in one export or in a folder for each (-sites)"
    )
    options.output.write_text(as_markdown(description(), plate, options.pairs, figures, "make bench-csv", _MEASURED))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.csv_figures", description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--sites", type=int, default=SITES)
    parser.add_argument("--peer-sites", type=int, nargs="*", default=[8], help="smaller plates, for CytoTable too")
    parser.add_argument("--copies", type=int, nargs="*", default=COPIES)
    parser.add_argument("--cytotable", type=int, default=1, metavar="RUNS", help="of CytoTable for each plate")
    parser.add_argument("--folder", type=Path, help="where to work; plates are kept there between runs")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    try:
        main()
    except PeerError as error:
        raise SystemExit(str(error)) from None
