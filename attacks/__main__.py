"""python -m attacks [MODULE ...] --cases N --seed S (or `make attack`): exit status 1 where there was a fault."""

import argparse
import os
import sys
import time
from collections import Counter

from attacks.outcome import FAULTS
from attacks.runner import Case, run
from cytotable_dagster.core.kernels.loading import load_all

# The attacks, and how many of a thousand asked for are run: kills and faults of a store start processes and servers.
ATTACKS = {"sqlite": 1.0, "csv": 1.0, "npz": 0.2, "kills": 0.05, "store": 0.05}
# How much longer than others one may take: a kill is three conversions, some in Dagster.
PATIENCE = {"kills": 15}
_SHOWN = 20


def main() -> int:
    chosen = _parser().parse_args()
    load_all()  # compiled once, here
    faults = 0
    for module in chosen.modules or ATTACKS:
        number = max(1, round(chosen.cases * ATTACKS[module]))
        seeds = chosen.only or [f"{chosen.seed}-{place}" for place in range(number)]
        faults += _attacked(module, seeds, chosen.seconds, chosen.workers)
    return 1 if faults else 0


def _attacked(module: str, seeds: list[str], seconds: float, workers: int) -> int:
    started = time.perf_counter()
    kinds: Counter[str] = Counter()
    for case, outcome in run([Case(module, seed) for seed in seeds], seconds * PATIENCE.get(module, 1), workers):
        kinds[outcome.kind] += 1
        if outcome.is_fault and sum(kinds[kind] for kind in FAULTS) <= _SHOWN:
            print(f"  {outcome.kind}: python -m attacks {module} --only {case.seed}: {outcome.detail}", flush=True)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    print(f"{module}: {len(seeds)} attacks in {time.perf_counter() - started:.0f} s: {told}", flush=True)
    return sum(kinds[kind] for kind in FAULTS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m attacks", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(ATTACKS)} (default: all)")
    parser.add_argument("--cases", type=int, default=1000, help="mutated files of each kind; others in proportion")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--only", nargs="+", metavar="SEED", help="these attacks again")
    parser.add_argument("--seconds", type=float, default=60, help="what takes longer is a hang (kills: 15 times)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
