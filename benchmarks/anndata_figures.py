"""AnnData of joined single cells against CytoTable's own, to results_anndata.md: python -m benchmarks.anndata_figures

Both convert the same plate, by turns, and what they wrote is compared value by value; ours is float32 where it is
timed, as users get it, and float64 as CytoTable's where it is compared. CytoTable has a copy of the plate to read in
which no number is missing and every cell has a nucleus: where a whole number is missing, it writes none.
"""

import argparse
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path

import anndata

from benchmarks.figures import Figure
from benchmarks.machine import description
from benchmarks.pairs import by_turns
from benchmarks.plates import PRESET, wide_plate
from benchmarks.results import as_markdown
from benchmarks.stats import megabytes, ratio, spread
from benchmarks.workshop import MeasurementError, Sample, Workshop, workshop
from cytotable_dagster_tests.parity.anndata_tables import compare
from cytotable_dagster_tests.parity.peer import PeerError

RESULTS = Path(__file__).with_name("results_anndata.md")
KINDS = {"anndata_h5ad": anndata.read_h5ad, "anndata_zarr": anndata.read_zarr}
_KEYS = ("ImageNumber", "Cytoplasm_Parent_Cells")
# Keys have other names; see docs/differences-from-cytotable.md.
_CALLED = {
    "Metadata_ObjectNumber_1": "Metadata_Cells_ObjectNumber",
    "Metadata_ObjectNumber_2": "Metadata_Nuclei_ObjectNumber",
    **{f"{table}_TableNumber": "Metadata_TableNumber" for table in ("Image", "Cytoplasm", "Cells", "Nuclei")},
}
# What CytoTable does: its names, and no rows that lack a nucleus.
_ALIKE = {"names": "cytotable", "unmatched": "drop", "preset": PRESET}


def without_gaps(plate: Path) -> Path:
    """A copy of a plate without cells that lack a nucleus, and with 0 where a number is missing."""
    whole = plate.with_name(f"whole-{plate.name}")
    shutil.copyfile(plate, whole)
    same = "Nuclei.ImageNumber = Cytoplasm.ImageNumber AND Nuclei.ObjectNumber = Cytoplasm.Cytoplasm_Parent_Nuclei"
    with closing(sqlite3.connect(whole)) as connection, connection:
        connection.execute(f"DELETE FROM Cytoplasm WHERE NOT EXISTS (SELECT 1 FROM Nuclei WHERE {same})")
        for table in ("Cells", "Cytoplasm", "Nuclei"):
            names = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")') if row[2] != "TEXT"]
            filled = ", ".join(f'"{name}" = coalesce("{name}", 0)' for name in names)
            connection.execute(f'UPDATE "{table}" SET {filled}')
    return whole


def as_it_is(shop: Workshop, source: Path) -> Figure:
    """What CytoTable says of the plate with its gaps."""
    name = "h5ad of the plate with whole numbers missing, CytoTable"
    try:
        shop.theirs(
            source, preset=PRESET, joined=True, dest_path=shop.out / "theirs.h5ad", dest_datatype="anndata_h5ad"
        )
    except MeasurementError as error:
        return Figure(name, "fails", detail=str(error))
    return Figure(name, "is written")


def measured(shop: Workshop, source: Path, kind: str, pairs: int) -> Iterator[Figure]:
    name = kind.removeprefix("anndata_")
    dest, other = shop.folder / f"ours.{name}", shop.folder / f"theirs.{name}"

    def ours(**options: object) -> Sample:
        given = {**_ALIKE, **options, "dest_datatype": kind, "overwrite": True}
        return shop.task("convert", source_path=source, dest_path=dest, **given)

    def theirs() -> Sample:
        _remove(other)
        return shop.theirs(source, preset=PRESET, joined=True, dest_path=other, dest_datatype=kind)

    ours()
    taken = by_turns(theirs, ours, pairs)
    for what, values in (
        ("seconds inside convert()", [[s.seconds for s in side] for side in (taken.theirs, taken.ours)]),
        ("processor time of the process", [[s.cpu_seconds for s in side] for side in (taken.theirs, taken.ours)]),
    ):
        times = ratio(*values)
        told = f"CytoTable {spread(values[0])}; ours {spread(values[1])}"
        yield Figure(f"{name}, {what}, CytoTable / ours", str(times), detail=told)
    memory = [[s.peak_anonymous for s in side] for side in (taken.theirs, taken.ours)]
    least = max(memory[0]) / max(memory[1])
    told = f"CytoTable {megabytes(memory[0])}; ours {megabytes(memory[1])}"
    yield Figure(f"{name}, peak memory, CytoTable / ours", f"{least:.3g}", detail=told)
    size = f"CytoTable {_bytes(other) / 1e6:,.0f} MB; ours {_bytes(dest) / 1e6:,.0f} MB"
    yield Figure(f"{name}, bytes, CytoTable / ours", f"{_bytes(other) / _bytes(dest):.3g}", detail=size)
    ours(data_type_cast_map={"float": "float64"})
    found = [KINDS[kind](path) for path in (dest, other)]
    equal = compare(*found, _KEYS, _CALLED)
    shapes = (
        f"CytoTable {found[1].n_obs:,} x {found[1].n_vars:,}; ours {found[0].n_obs:,} x {found[0].n_vars:,} and obs"
    )
    yield Figure(f"{name}, values that are equal", f"all {equal:,}", "all", reached=True, detail=shapes)
    for path in (dest, other):
        _remove(path)


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def main() -> None:
    options = _parser().parse_args()
    figures = []
    with workshop(options.folder) as shop:
        source = wide_plate(options.folder or shop.folder, options.cells)
        whole = without_gaps(source)
        for figure in chain([as_it_is(shop, source)], *(measured(shop, whole, kind, options.pairs) for kind in KINDS)):
            print(f"{figure.name}: {figure.value}  [{figure.target}]  {figure.detail}", flush=True)
            figures.append(figure)
        plate = (
            f"{source.stat().st_size / 1e6:,.0f} MB, {options.cells:,} cells, of a JUMP plate's 1,900 columns a table"
        )
    options.output.write_text(as_markdown(description(), plate, options.pairs, figures, "make bench-anndata"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.anndata_figures", description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--cells", type=int, default=900)
    parser.add_argument("--folder", type=Path, help="where to work; the plate is kept there between runs")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    try:
        main()
    except PeerError as error:
        raise SystemExit(str(error)) from None
