"""How well the compartments of a plate match in its joined table."""

from dataclasses import dataclass
from pathlib import Path

from cytotable_dagster.core.plan import Plan
from cytotable_dagster.core.presets import IMAGE
from cytotable_dagster.core.single_cells import base_compartment, joined_columns


@dataclass(frozen=True)
class Match:
    """A compartment joined to the base: rows of the joined table that have an object of it and that have none, and
    its own objects that are in no row."""

    compartment: str
    matched: int
    unmatched: int
    left_over: int


def matches(plan: Plan, path: Path) -> tuple[Match, ...]:
    """Counts for each compartment of the joined table at `path`; only key columns are read."""
    found = [_partner_match(plan, path, compartment) for compartment in plan.partners]
    if IMAGE in plan.compartments:
        found.append(_image_match(plan))
    return tuple(found)


def key_names(plan: Plan, compartment: str) -> list[str]:
    """Result columns that identify a compartment's rows."""
    return [plan.part(compartment).result_name(key) for key in plan.preset.keys_of(compartment)]


def distinct_rows(path: Path, columns: list[str]) -> int:
    """How many different rows these columns have, rows without a value in any of them left out."""
    import pyarrow.parquet as pq

    keys = pq.read_table(path, columns=columns).drop_null()
    return keys.group_by(columns).aggregate([]).num_rows


def _partner_match(plan: Plan, path: Path, compartment: str) -> Match:
    import pyarrow.parquet as pq

    own = key_names(plan, compartment)[-1]
    number = next(c.name for c in joined_columns(plan) if (c.compartment, c.column) == (compartment, own))
    image = key_names(plan, base_compartment(plan))[:-1]
    objects = pq.read_table(path, columns=[number])[number]
    unmatched = objects.null_count
    left_over = plan.part(compartment).rows - distinct_rows(path, [*image, number])
    return Match(compartment, len(objects) - unmatched, unmatched, left_over)


def _image_match(plan: Plan) -> Match:
    base, rows, unmatched, left_over = base_compartment(plan), 0, 0, 0
    for chunk in range(plan.chunk_count):
        pairs = zip(plan.counts(base, chunk), plan.counts(IMAGE, chunk), strict=True)
        for objects, image in pairs:
            rows += int(objects.sum())
            unmatched += int(objects[image == 0].sum())
            left_over += int(image[objects == 0].sum())
    return Match(IMAGE, rows - unmatched, unmatched, left_over)
