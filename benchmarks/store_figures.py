"""Plates that come from S3, to results_store.md: python -m benchmarks.store_figures

A SQLite plate comes at so many bytes a second: from start to result, against its download alone and its conversion
alone. Sites of four CSV each come with so much time to an answer: files a second, memory, and what it costs to look
whether all are as they were. The store (`slow_store`) runs on the same cores.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.csv_plates import small_sites
from benchmarks.figures import Figure
from benchmarks.machine import description
from benchmarks.plates import PRESET, wide_plate
from benchmarks.results import as_markdown
from benchmarks.stats import megabytes, ratio, spread
from benchmarks.workshop import MeasurementError, Sample, Workshop, workshop
from cytotable_dagster_tests.parity.peer import ROOT, PeerError

RESULTS = Path(__file__).with_name("results_store.md")
CSV_PRESET = "cellprofiler_csv"
# Bytes and milliseconds as in the figures; the first answers of the plate's store take as long as a near one's.
RATE, LATENCY, NEAR = 100e6, 0.02, 0.001
_KEYS = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench"}
_MEASURED = (
    "The store runs on the same cores, and takes a third of a millisecond of one for each answer. Copies of an earlier",
    "run are removed before each. CytoTable ran once, on plates that it can do in minutes.",
)


@contextmanager
def slow_store(folder: Path, latency: float, rate: float) -> Iterator[dict[str, str]]:
    """A folder as a bucket; the options of clients that read it."""
    command = [sys.executable, "-m", "benchmarks.slow_store", str(folder), str(latency), str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as running:
        assert running.stdout is not None
        try:
            yield {"endpoint_url": running.stdout.readline().strip(), **_KEYS}
        finally:
            running.terminate()


def one_plate(shop: Workshop, source: Path, pairs: int) -> Iterator[Figure]:
    """Download, conversion and both, by turns."""
    fetched, converted, whole = [], [], []
    with slow_store(source.parent, NEAR, RATE) as options:
        uri = f"s3://plates/{source.name}"
        shop.ours(source, joined=False, preset=PRESET)
        for _ in range(pairs):
            fetched.append(shop.task("fetch", uri=uri, **options, local_cache_dir=shop.out / "cache"))
            converted.append(shop.ours(source, joined=False, preset=PRESET))
            whole.append(_from_store(shop, uri, options, joined=False, preset=PRESET))
    longer = [max(a.seconds, b.seconds) for a, b in zip(fetched, converted, strict=True)]
    times = ratio([s.seconds for s in whole], longer)
    told = "; ".join(
        f"{name} {spread([s.seconds for s in samples])}, {spread([s.facts['cpu'] for s in samples])} of CPU"
        for name, samples in (("download", fetched), ("conversion", converted), ("both", whole))
    )
    name = "SQLite from a store / the longer of download and conversion"
    yield Figure(name, str(times), "at most 1.15", times.middle <= 1.15, told)
    yield Figure("SQLite from a store, peak memory", megabytes([s.peak_anonymous for s in whole]))


def many_files(shop: Workshop, folder: Path, pairs: int) -> Iterator[Figure]:
    """The sites into the cache, and looked at again."""
    with slow_store(folder.parent, LATENCY, 0) as options:
        uri = f"s3://plates/{folder.name}/"
        came = [
            shop.task("fetch", uri=uri, again=3, **options, local_cache_dir=shop.out / "cache") for _ in range(pairs)
        ]
    files = came[0].facts["files"]
    rates = [files / s.seconds for s in came]
    name = f"{files:,} CSV files"
    told = f"{spread([1000 * s.facts['cpu'] / files for s in came], 'ms')} of CPU a file"
    yield Figure(f"{name}, files a second", spread(rates, "a second"), "at least 200", median(rates) >= 200, told)
    yield Figure(f"{name}, peak memory", megabytes([s.peak_anonymous for s in came]))
    again = [1000 * s.facts["cpu_again"] / files for s in came]
    seconds = spread([s.facts["again"] for s in came])
    yield Figure(f"{name} that are in the cache, CPU of looking at one", spread(again, "ms"), detail=f"all {seconds}")


def versus_peer(shop: Workshop, source: Path, latency: float, rate: float, *, csv: bool) -> Iterator[Figure]:
    """Start to result of both, joined."""
    preset = CSV_PRESET if csv else PRESET
    kind = {"source_datatype": "csv"} if csv else {}
    name = f"{source.name} from a store, which is no larger for CytoTable's sake, CytoTable / ours"
    with slow_store(source.parent, latency, rate) as options:
        uri = f"s3://plates/{source.name}{'/' if csv else ''}"
        # What is compiled is there.
        shop.ours(source, joined=True, preset=preset)
        ours = _from_store(shop, uri, options, joined=True, preset=preset)
        # Of a folder's files it makes clients that are not told of these options.
        variables = {name.upper().replace("ENDPOINT", "AWS_ENDPOINT"): value for name, value in options.items()}
        try:
            given = {**kind, **options, "local_cache_dir": shop.out / "cache", "variables": variables}
            theirs = shop.theirs(uri, preset=preset, joined=True, **given)
        except MeasurementError as error:
            yield Figure(
                name, "CytoTable fails", detail=f"{' '.join(str(error).split())[:200]}; ours {ours.seconds:.3g} s"
            )
            return
    times = ratio([theirs.seconds], [ours.seconds])
    told = "; ".join(
        f"{whose} {s.seconds:.3g} s, {megabytes([s.peak_anonymous])}"
        for whose, s in (("theirs", theirs), ("ours", ours))
    )
    yield Figure(name, f"{times.middle:.3g}", detail=told)


def _from_store(shop: Workshop, uri: str, options: dict[str, str], *, joined: bool, preset: str) -> Sample:
    # Not where results go, which is to be empty.
    shutil.rmtree(shop.folder / "cache", ignore_errors=True)
    return shop.ours(uri, joined=joined, preset=preset, **options, local_cache_dir=shop.folder / "cache")


def figures(shop: Workshop, plates: Path, options: argparse.Namespace) -> Iterator[Figure]:
    yield from one_plate(shop, _alone(wide_plate(plates, options.cells)), options.pairs)
    yield from many_files(shop, small_sites(plates, options.sites), options.pairs)
    if options.cytotable:
        yield from versus_peer(shop, _alone(wide_plate(plates, options.peer_cells)), NEAR, RATE, csv=False)
        yield from versus_peer(shop, small_sites(plates, options.peer_sites), LATENCY, 0, csv=True)


def _alone(plate: Path) -> Path:
    """A plate in a folder of its own, as the store reads all that is in a bucket."""
    own = plate.parent / f"{plate.stem}-bucket" / plate.name
    own.parent.mkdir(exist_ok=True)
    if not own.exists():
        own.hardlink_to(plate)
    return own


def main() -> None:
    options = _parser().parse_args()
    found = []
    with workshop(options.folder) as shop:
        for figure in figures(shop, options.folder or shop.folder, options):
            print(f"{figure.name}: {figure.value}  [{figure.target}]  {figure.detail}", flush=True)
            found.append(figure)
    plate = (
        f"{options.cells:,} cells of a JUMP plate's 1,900 columns a table, at {RATE / 1e6:.0f} MB/s; "
        f"{options.sites:,} sites of four CSV of at most 8 KB, {1000 * LATENCY:.0f} ms to an answer"
    )
    options.output.write_text(as_markdown(description(), plate, options.pairs, found, "make bench-store", _MEASURED))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store_figures", description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--cells", type=int, default=11_500, help="of the SQLite plate; 11,500 make 590 MB")
    parser.add_argument("--sites", type=int, default=3456, help="of the plate of CSV files; 200 for a quick run")
    parser.add_argument("--peer-cells", type=int, default=900, help="of the SQLite plate that CytoTable gets, too")
    parser.add_argument("--peer-sites", type=int, default=32, help="of the plate of CSV files that it gets, too")
    parser.add_argument("--cytotable", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--folder", type=Path, help="where to work; plates are kept there between runs")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    try:
        main()
    except PeerError as error:
        raise SystemExit(str(error)) from None
