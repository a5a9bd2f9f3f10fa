"""The figures that have targets, each with the measurements behind it."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import several_figures
from benchmarks.pairs import Pairs, by_turns, versus_cytotable
from benchmarks.plates import PRESET, images_of, wide_plate
from benchmarks.stats import Ratio, megabytes, ratio, spread
from benchmarks.workshop import Sample, Workshop
from cytotable_dagster.core.support.cores import cores

IMAGES_OF_A_RETRY, CELLS_OF_AN_IMAGE = 3456, 3


@dataclass(frozen=True)
class Figure:
    """`reached` is None where there is no target."""

    name: str
    value: str
    target: str = ""
    reached: bool | None = None
    detail: str = ""


@dataclass(frozen=True)
class Bench:
    """What the figures are measured on: plates in `plates`, of `cells` cells, `pairs` times each."""

    shop: Workshop
    plates: Path
    cells: int
    pairs: int

    def plate(self, times: int = 1) -> Path:
        return wide_plate(self.plates, self.cells * times)

    def repeated(self, run: Callable[[], Sample]) -> list[Sample]:
        return [run() for _ in range(self.pairs)]


def compartments(bench: Bench) -> Iterator[Figure]:
    yield from _versus(bench, "four compartment files", joined=False)
    samples = bench.repeated(lambda: bench.shop.ours(bench.plate(), joined=False))
    cpu = [sample.facts["cpu"] for sample in samples]
    yield Figure("four compartment files, CPU seconds", spread(cpu), "at most 2.7 s", median(cpu) <= 2.7)


def single_cells(bench: Bench) -> Iterator[Figure]:
    yield from _versus(bench, "joined single cells", joined=True)


def both(bench: Bench) -> Iterator[Figure]:
    """Compartments and joined single cells of one reading, against the dearer of the two alone."""
    source = bench.plate()
    pairs = by_turns(
        lambda: bench.shop.ours(source, joined=False, join="both"),
        lambda: bench.shop.ours(source, joined=True),
        bench.pairs,
    )
    yield from _no_dearer("both results in one call / the joined one", pairs, 1.25, ("both", "joined"))


def several_plates(bench: Bench) -> Iterator[Figure]:
    """Four files of several plates in one call."""
    for kind in several_figures.kinds(bench.plates):
        turns = several_figures.by_turns(bench.shop, kind, bench.pairs)
        pairs = turns.versus_cytotable
        name = f"{kind.name} in one call"
        yield _at_least(f"{name}, CytoTable one by one / ours", pairs.seconds(), 15, _seconds(pairs))
        yield from _no_dearer(f"{name} / one by one", turns.versus_each, 1.1, ("one call", "one by one"))


def through_dagster(bench: Bench) -> Iterator[Figure]:
    """The steps of a run against convert() for the same results; what a run costs that does not grow with the plate
    weighs less where that is larger."""
    name, names = "steps in Dagster / convert() for four files and for the joined table", ("Dagster", "convert()")
    _run(bench, bench.plate())
    pairs = by_turns(*(partial(run, bench, bench.plate()) for run in (_run, _calls)), bench.pairs)
    yield from _no_dearer(name, pairs, 1.2, names)
    large = by_turns(*(partial(run, bench, bench.plate(4)) for run in (_run, _calls)), bench.pairs)
    yield from _no_dearer("the same of a plate of four times the rows", large, 1.2, names)
    kept = max(sample.facts["kept"] for sample in (*pairs.theirs, *large.theirs))
    yield Figure("bytes of a plate in the lake / of its results", f"{kept:.3f}", "at most 1.05", kept <= 1.05)
    last = pairs.theirs[-1].facts
    told = ", ".join(f"{name} {seconds:.2g}" for name, seconds in last["steps"].items())
    yield Figure(
        "one run in Dagster", spread([s.facts["run"] for s in pairs.theirs]), detail=f"{last['events']} events; {told}"
    )


def _run(bench: Bench, source: Path) -> Sample:
    return bench.shop.task("dagster_run", source=str(source), dest=bench.shop.out)


def _calls(bench: Bench, source: Path) -> Sample:
    made = [bench.shop.ours(source, joined=joined) for joined in (False, True)]
    cpu = sum(sample.facts["cpu"] for sample in made)
    return replace(made[0], seconds=sum(sample.seconds for sample in made), facts={"cpu": cpu})


def launched(bench: Bench) -> Iterator[Figure]:
    """A run of the demo's plate as the web UI launches it, after another one."""
    samples = bench.repeated(lambda: bench.shop.task("launched_runs", dest=bench.shop.out))
    seconds = [sample.seconds for sample in samples]
    waited = spread([sample.facts["waited"] for sample in samples])
    detail = f"{waited} of it in the queue and until its process runs"
    yield Figure("the demo's plate, from launch to end", spread(seconds), "6 s", median(seconds) <= 6, detail)


def first_use(bench: Bench) -> Iterator[Figure]:
    """A small plate on a machine that has compiled nothing."""
    source = wide_plate(bench.plates, 200)

    def first() -> Sample:
        with tempfile.TemporaryDirectory(dir=bench.shop.folder) as folder:
            return bench.shop.task("first_convert", folder=folder, source_path=source, dest_path=bench.shop.out)

    seconds = [sample.seconds for sample in bench.repeated(first)]
    yield Figure("the first conversion of a machine", spread(seconds), "8 s", median(seconds) <= 8)


def from_the_shell(bench: Bench) -> Iterator[Figure]:
    """Imports and start-up of both counted."""
    source = bench.plate()

    def ours() -> Sample:
        return bench.shop.shell("cytotable-dagster", "convert", str(source), str(bench.shop.out), "--preset", PRESET)

    ours()
    pairs = by_turns(lambda: bench.shop.theirs(source, preset=PRESET, joined=False), ours, bench.pairs)
    whole = ratio([s.whole_seconds for s in pairs.theirs], [s.whole_seconds for s in pairs.ours])
    yield _at_least("whole process from the shell, CytoTable / ours", whole, 10, _seconds(pairs, whole=True))


def other_readers(bench: Bench) -> Iterator[Figure]:
    """What else reads the same file, for comparison."""
    source = str(bench.plate())
    for name, task, arguments in (
        ("DuckDB COPY of each table", "duckdb_copy", {"dest": bench.shop.out}),
        ("sqlite3 reading the last column", "sqlite_last_column", {}),
        ("reading the file once", "read_file", {}),
    ):
        samples = bench.repeated(lambda t=task, a=arguments: bench.shop.task(t, source=source, **a))
        yield Figure(name, spread([s.seconds for s in samples]), detail=_memory(samples))


def decoding(bench: Bench) -> Iterator[Figure]:
    source = str(bench.plate())
    samples = bench.repeated(lambda: bench.shop.task("decode", source=source, dest=bench.shop.out))
    speed = median(s.facts["values"] / s.seconds for s in samples) / 1e6
    detail = f"{spread([s.seconds for s in samples])} on one thread"
    yield Figure("decoded values per second and core", f"{speed:.0f} million", "60 million", speed >= 60, detail)


def floor(bench: Bench) -> Iterator[Figure]:
    """Four files against reading, decoding and encoding every value once, spread over the cores."""
    source = bench.plate()
    encoded = bench.shop.folder / "encoded"
    bench.shop.task("convert", source_path=source, dest_path=encoded, overwrite=True)
    ours, least = [], []
    for _ in range(bench.pairs):
        ours.append(bench.shop.ours(source, joined=False).seconds)
        decoded = bench.shop.task("decode", source=str(source), dest=bench.shop.out).seconds
        written = bench.shop.task("encode", folder=str(encoded), dest=bench.shop.out).seconds
        least.append((decoded + written) / cores())
    detail = f"{spread(ours)} against {spread(least)}: seconds of one thread each, over {cores()} cores"
    yield _at_most("four files / (read, decode and encode every value)", ratio(ours, least), 1.5, detail)


def growth(bench: Bench) -> Iterator[Figure]:
    """Time and memory at four times the rows."""
    small, large = bench.plate(), bench.plate(4)
    pairs = by_turns(
        lambda: bench.shop.ours(large, joined=False), lambda: bench.shop.ours(small, joined=False), bench.pairs
    )
    yield _at_most("time at 4x the rows / time at 1x", pairs.seconds(), 4.2, _seconds(pairs, names=("4x", "1x")))
    peaks = [max(s.peak_anonymous for s in samples) for samples in (pairs.ours, pairs.theirs)]
    yield Figure(
        "peak memory over the page cache, chunk_size 30,000",
        megabytes(peaks[:1]),
        "700 MB",
        peaks[0] <= 700e6,
        _memory(pairs.ours),
    )
    grown = peaks[1] / peaks[0] - 1
    yield Figure("the same at 4x the rows", f"{grown:+.1%}", "15 % above", grown <= 0.15, megabytes(peaks[1:]))


def retry(bench: Bench) -> Iterator[Figure]:
    """One image again, of a plate with as many as a large one has."""
    cells = IMAGES_OF_A_RETRY * CELLS_OF_AN_IMAGE
    source = wide_plate(bench.plates, cells, cells_per_image=CELLS_OF_AN_IMAGE)
    images = images_of(cells, CELLS_OF_AN_IMAGE)
    pairs = by_turns(
        lambda: bench.shop.task("one_image", source=str(source), dest=bench.shop.out, images=images),
        lambda: bench.shop.ours(source, joined=False),
        bench.pairs,
    )
    took = [sample.seconds for sample in pairs.theirs]
    detail = f"{pairs.seconds().middle:.2%} of the whole; {_seconds(pairs, names=('one image', 'the plate'))}"
    yield Figure(f"one image of {images:,} again", spread(took), "0.15 s", median(took) <= 0.15, detail)


def start_up(bench: Bench) -> Iterator[Figure]:
    source = str(bench.plate())
    for name, target, command in (
        ("python -c 'pass'", None, ("python", "-c", "pass")),
        ("import cytotable_dagster", 0.3, ("python", "-c", "import cytotable_dagster")),
        ("cytotable-dagster inspect", 1.0, ("cytotable-dagster", "inspect", source)),
    ):
        bench.shop.shell(*command)
        seconds = [sample.seconds for sample in bench.repeated(lambda c=command: bench.shop.shell(*c))]
        reached = None if target is None else median(seconds) <= target
        yield Figure(name, spread(seconds), f"{target} s" if target else "", reached)


ALL: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    figure.__name__: figure
    for figure in (
        compartments,
        single_cells,
        both,
        several_plates,
        through_dagster,
        launched,
        from_the_shell,
        other_readers,
        decoding,
        floor,
        growth,
        retry,
        start_up,
        first_use,
    )
}


def _versus(bench: Bench, what: str, *, joined: bool) -> Iterator[Figure]:
    pairs = versus_cytotable(bench.shop, bench.plate(), preset=PRESET, joined=joined, pairs=bench.pairs)
    yield _at_least(f"{what}, seconds inside convert(), CytoTable / ours", pairs.seconds(), 15, _seconds(pairs))
    theirs, ours = ([max(s.peak_anonymous for s in samples)] for samples in (pairs.theirs, pairs.ours))
    yield Figure(f"{what}, peak memory over the page cache", f"{megabytes(ours)}; CytoTable {megabytes(theirs)}")


def _no_dearer(name: str, pairs: Pairs, target: float, names: tuple[str, str]) -> Iterator[Figure]:
    """Seconds and CPU seconds of the one against the other's."""
    yield _at_most(f"{name}, seconds", pairs.seconds(), target, _seconds(pairs, names))
    ours, others = ([sample.facts["cpu"] for sample in samples] for samples in (pairs.theirs, pairs.ours))
    detail = f"{names[0]} {spread(ours)}; {names[1]} {spread(others)}"
    yield _at_most(f"{name}, CPU seconds", ratio(ours, others), target, detail)


def _at_least(name: str, value: Ratio, target: float, detail: str) -> Figure:
    return Figure(name, str(value), f"at least {target:g}", value.middle >= target, detail)


def _at_most(name: str, value: Ratio, target: float, detail: str) -> Figure:
    return Figure(name, str(value), f"at most {target:g}", value.middle <= target, detail)


def _seconds(pairs: Pairs, names: tuple[str, str] = ("CytoTable", "ours"), *, whole: bool = False) -> str:
    told = []
    for name, samples in zip(names, (pairs.theirs, pairs.ours), strict=True):
        told.append(f"{name} {spread([s.whole_seconds if whole else s.seconds for s in samples])}")
    return "; ".join(told)


def _memory(samples: Sequence[Sample]) -> str:
    anonymous, resident = ([getattr(s, name) for s in samples] for name in ("peak_anonymous", "peak_resident"))
    return f"peak memory {megabytes(anonymous)}, with pages of files {megabytes(resident)}"
