"""How well the compartments of a plate match, and whether keys of a result are keys."""

from dataclasses import dataclass
from pathlib import Path

from cytotable_dagster.core.plan import Plan
from cytotable_dagster.core.single_cells import base_compartment, joined_compartments


@dataclass(frozen=True)
class Match:
    """A compartment joined to the base: rows of the joined table that have one of it and that have none, and those
    of its own that are in no row."""

    compartment: str
    matched: int
    unmatched: int
    left_over: int


def matches(plan: Plan) -> tuple[Match, ...]:
    """Counts for each compartment that is joined to the base."""
    base = base_compartment(plan)
    return tuple(_match(plan, compartment) for compartment in joined_compartments(plan) if compartment != base)


def key_names(plan: Plan, compartment: str) -> list[str]:
    """Result columns that identify a compartment's rows."""
    return [plan.part(compartment).result_name(key) for key in plan.preset.keys_of(compartment)]


def distinct_rows(path: Path, columns: list[str]) -> int:
    """How many different rows these columns have, rows without a value in any of them left out."""
    import pyarrow.parquet as pq

    keys = pq.read_table(path, columns=columns).drop_null()
    return keys.group_by(columns).aggregate([]).num_rows


def _match(plan: Plan, compartment: str) -> Match:
    import numpy as np

    matched = unmatched = used = 0
    for chunk in range(plan.chunk_count):
        for positions in plan.matches(compartment, chunk):
            found = positions[positions >= 0]
            matched += len(found)
            unmatched += len(positions) - len(found)
            used += len(np.unique(found))
    return Match(compartment, matched, unmatched, plan.part(compartment).rows - used)
