"""How well the compartments of a plate match, and whether keys of a result are keys."""

from typing import TYPE_CHECKING

from cytotable_dagster.core.model.values import told
from cytotable_dagster.core.planning.links import told as told_link
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.reports.records import Found, Match
from cytotable_dagster.core.steps.batches import read_batches
from cytotable_dagster.core.steps.joined import base_compartment, joined_compartments
from cytotable_dagster.core.support.arrays import from_numpy, to_numpy

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def matches(plan: Plan) -> tuple[Match, ...]:
    """Counts for each compartment that is joined to the base."""
    base = base_compartment(plan)
    return tuple(_match(plan, base, compartment) for compartment in joined_compartments(plan) if compartment != base)


def key_names(plan: Plan, compartment: str) -> list[str]:
    """Result columns that identify a compartment's rows."""
    return [plan.part(compartment).result_name(key) for key in plan.preset.keys_of(compartment)]


def distinct_rows(file: "pa.NativeFile", columns: list[str]) -> int:
    """How many different rows these columns have, rows without a value in any of them left out."""
    import numpy as np
    import pyarrow.parquet as pq

    # `read_table` and `group_by` import pandas.
    keys = pq.ParquetFile(file).read(columns=columns).drop_null()
    codes = np.zeros(len(keys), np.int64)
    different = min(len(keys), 1)
    for column in keys.columns:
        own = column.combine_chunks().dictionary_encode()
        # Both are below the number of rows, and their product below 2**63.
        pairs = from_numpy(codes * len(own.dictionary) + to_numpy(own.indices)).dictionary_encode()
        codes, different = to_numpy(pairs.indices).astype(np.int64), len(pairs.dictionary)
    return different


def example_of(plan: Plan, compartment: str, positions: "np.ndarray") -> Found:
    """Rows of a compartment by their positions in the result, with the key of the first, read from the source."""
    if not len(positions):
        return Found()
    row = plan.ordered(compartment)[positions[:1]]
    table, _ = next(read_batches(plan, compartment, [row], key_names(plan, compartment)))
    return Found(len(positions), first_key(plan, compartment, table))


def first_key(plan: Plan, compartment: str, table: "pa.Table") -> str:
    """The key in the first row of a table, as in `TableNumber 7, ImageNumber 1`."""
    keys = zip(plan.preset.keys_of(compartment), key_names(plan, compartment), strict=True)
    return ", ".join(f"{source} {told(table[name][0].as_py())}" for source, name in keys)


def _match(plan: Plan, base: str, compartment: str) -> Match:
    import numpy as np

    positions = plan.partners_of_base(compartment)
    used = np.zeros(plan.part(compartment).rows, bool)
    used[positions[positions >= 0]] = True
    return Match(
        compartment,
        matched=int(np.count_nonzero(positions >= 0)),
        unmatched=example_of(plan, base, np.flatnonzero(positions < 0)),
        left_over=example_of(plan, compartment, np.flatnonzero(~used)),
        by="".join(told_link(link) for link in plan.links if link.parent == compartment),
    )
