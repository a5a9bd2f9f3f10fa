"""All figures, printed as they come and written to results.md: python -m benchmarks (or `make bench`)."""

import argparse
from pathlib import Path

from benchmarks.figures import ALL, Bench, Figure
from benchmarks.machine import description
from benchmarks.results import as_markdown
from benchmarks.workshop import workshop
from cytotable_dagster_tests.parity.peer import PeerError

RESULTS = Path(__file__).with_name("results.md")


def main() -> None:
    options = _parser().parse_args()
    figures: list[Figure] = []
    with workshop(options.folder) as shop:
        bench = Bench(shop, options.folder or shop.folder, options.cells, options.pairs)
        for name in options.only or ALL:
            for figure in ALL[name](bench):
                print(f"{figure.name}: {figure.value}  [{figure.target}]  {figure.detail}", flush=True)
                figures.append(figure)
        size = bench.plate().stat().st_size / 1e6
    if not options.only:
        plate = f"about {options.cells:,} cells, four tables of about 1,930 columns, {size:,.0f} MB"
        options.output.write_text(as_markdown(description(), plate, options.pairs, figures))
        print(f"written to {options.output.name}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--cells", type=int, default=11_500, help="of the plate; 11,500 make 590 MB")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument(
        "--only", nargs="+", choices=list(ALL), metavar="NAME", help=f"of {', '.join(ALL)}; writes no file"
    )
    parser.add_argument("--folder", type=_folder, help="where to work; plates are kept there between runs")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser


def _folder(text: str) -> Path:
    path = Path(text).resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path


if __name__ == "__main__":
    try:
        main()
    except PeerError as error:
        raise SystemExit(str(error)) from None
