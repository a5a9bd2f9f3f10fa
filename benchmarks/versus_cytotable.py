"""Time convert() against CytoTable 1.2.6 on the same file: python -m benchmarks.versus_cytotable --cells 11500

CytoTable runs with a thread executor and 30,000 objects a chunk, which is its best, in the environment that
`make parity` makes.
"""

import argparse
from pathlib import Path

from benchmarks.machine import description
from benchmarks.pairs import table, versus_cytotable
from benchmarks.plates import PRESET, wide_plate
from benchmarks.workshop import workshop
from cytotable_dagster_tests.parity.peer import PeerError


def main() -> None:
    options = _parser().parse_args()
    for name, value in description().items():
        print(f"{name:10} {value}")
    with workshop(options.folder) as shop:
        source = options.source or wide_plate(options.folder or shop.folder, options.cells)
        print(f"{'source':10} {source.name}, {source.stat().st_size / 1e6:,.0f} MB; {options.pairs} pairs")
        for joined in [options.join] if options.join is not None else [False, True]:
            print(f"\n{'joined single cells' if joined else 'compartments'}", flush=True)
            pairs = versus_cytotable(
                shop,
                source,
                preset=options.preset,
                joined=joined,
                pairs=options.pairs,
                executor=options.executor,
                chunk_size=options.peer_chunk_size,
            )
            print(table(pairs), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versus_cytotable", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--source", type=_file, help="a SQLite plate")
    what.add_argument("--cells", type=int, default=11_500, help="of a synthetic plate instead; 11,500 make 590 MB")
    parser.add_argument("--preset", default=PRESET)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--join", action=argparse.BooleanOptionalAction, help="only joined, or only compartments")
    parser.add_argument("--executor", choices=["threads", "htex"], default="threads", help="CytoTable's")
    parser.add_argument("--peer-chunk-size", type=int, default=30_000, help="CytoTable's")
    parser.add_argument("--folder", type=_folder, help="where to work; a synthetic plate is kept there")
    return parser


def _folder(text: str) -> Path:
    path = Path(text).resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path


def _file(text: str) -> Path:
    path = Path(text).resolve()
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text}: no such file")
    return path


if __name__ == "__main__":
    try:
        main()
    except PeerError as error:
        raise SystemExit(str(error)) from None
