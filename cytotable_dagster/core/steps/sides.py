"""What a compartment gives to the joined table: its columns and rows, encoded as soon as they are decoded.

Rows that are the compartment's own, in its order, are encoded once: the pages of a compartment's file and of the joined
table are the same.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.types import Coercion
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.steps.batches import read_batches
from cytotable_dagster.core.steps.chunk_files import ChunkFile
from cytotable_dagster.core.steps.joined import joined_columns, joined_compartments, kept_rows

if TYPE_CHECKING:
    import numpy as np

    from cytotable_dagster.core.parquet.columns import Columns
    from cytotable_dagster.core.parquet.layout import Layout
    from cytotable_dagster.core.steps.batches import Batch

    # A compartment's columns of a batch of the joined table, and what was coerced in them.
    Side = tuple[Columns, tuple[Coercion, ...]]


def names_by_compartment(plan: Plan) -> dict[str, list[str]]:
    """The columns that each compartment gives to the joined table, as the compartment calls them."""
    if "names by compartment" not in plan.known:
        names: dict[str, list[str]] = {compartment: [] for compartment in joined_compartments(plan)}
        for column in joined_columns(plan):
            names[column.compartment].append(column.column)
        plan.known["names by compartment"] = {compartment: own for compartment, own in names.items() if own}
    found: dict[str, list[str]] = plan.known["names by compartment"]
    return found


def sides_of(plan: Plan) -> "np.ndarray":
    """Of which of `names_by_compartment` each column of the joined table is."""
    import numpy as np

    if "sides" not in plan.known:
        place = {compartment: i for i, compartment in enumerate(names_by_compartment(plan))}
        plan.known["sides"] = np.array([place[column.compartment] for column in joined_columns(plan)], np.int64)
    found: np.ndarray = plan.known["sides"]
    return found


def _layout(plan: Plan, compartment: str) -> "Layout":
    """How what a compartment gives is encoded."""
    import pyarrow as pa

    from cytotable_dagster.core.parquet.layout import layout_of

    if f"side {compartment}" not in plan.known:
        schema, names = plan.schema(compartment), names_by_compartment(plan)[compartment]
        plan.known[f"side {compartment}"] = pa.schema([schema.field(name) for name in names])
    return layout_of(plan.known[f"side {compartment}"])


def _places(plan: Plan, compartment: str) -> "np.ndarray":
    """Where what a compartment gives is among its columns."""
    import numpy as np

    if f"places {compartment}" not in plan.known:
        places = {name: i for i, name in enumerate(plan.schema(compartment).names)}
        names = names_by_compartment(plan)[compartment]
        plan.known[f"places {compartment}"] = np.array([places[name] for name in names], np.int64)
    found: np.ndarray = plan.known[f"places {compartment}"]
    return found


def joined_rows(plan: Plan, compartment: str, chunk: int) -> "list[np.ndarray]":
    """For each batch the row numbers of the compartment that belong to the joined table's rows, -1 where none does."""
    import numpy as np

    # The row number at the end is what a position of -1 finds.
    return [
        rows if positions is None else np.append(rows, -1)[positions]
        for rows, positions in zip(plan.rows(compartment, chunk), positions_of(plan, compartment, chunk), strict=True)
    ]


def read_sides(plan: Plan, compartment: str, chunk: int) -> "Iterator[Side]":
    """What a compartment gives to a chunk's batches, read in the order of the joined table."""
    names = names_by_compartment(plan)[compartment]
    with closing(read_batches(plan, compartment, joined_rows(plan, compartment, chunk), names)) as batches:
        for _ in range(len(plan.batches[chunk]) - 1):
            yield _read_side(plan, compartment, batches)


def _read_side(plan: Plan, compartment: str, batches: "Iterator[Batch]") -> "Side":
    from cytotable_dagster.core.parquet.columns import encoded_columns

    table, coercions = next(batches)
    return encoded_columns(_layout(plan, compartment), table), coercions


def write_sides(plan: Plan, compartment: str, chunk: int, file: ChunkFile) -> "Iterator[Side]":
    """The same of a compartment's own batches, each of which is added to its file."""
    positions, joined = positions_of(plan, compartment, chunk), joined_rows(plan, compartment, chunk)
    with closing(read_batches(plan, compartment, plan.rows(compartment, chunk))) as batches:
        for number, (own, rows) in enumerate(zip(positions, joined, strict=True), start=1):
            side = [_written_side(plan, compartment, file, own, rows, next(batches))]
            if number == len(joined):
                # What was decoded is held there.
                batches.close()
            yield side.pop()


def _written_side(
    plan: Plan, compartment: str, file: ChunkFile, own: "np.ndarray | None", rows: "np.ndarray", batch: "Batch"
) -> "Side":
    from cytotable_dagster.core.parquet.columns import encoded_columns, picked
    from cytotable_dagster.core.parquet.layout import layout_of

    places = _places(plan, compartment)
    table, coercions = batch
    whole = file.add(batch)
    if coercions:
        names = names_by_compartment(plan)[compartment]
        coercions = coercions_of(plan, compartment, rows, names, {lost.source for lost in coercions})
    if own is None and file.schema.equals(table.schema):
        return picked(whole, layout_of(file.schema), places), coercions
    return encoded_columns(_layout(plan, compartment), table.select(places.tolist()), own), coercions


def coercions_of(
    plan: Plan, compartment: str, rows: "np.ndarray", names: Sequence[str], sources: Collection[str]
) -> "tuple[Coercion, ...]":
    """What is coerced in the columns from these of the source, as the joined table has them: some rows are not in it,
    others are several times."""
    columns = {column.name: column.source for column in plan.part(compartment).columns}
    lost = [name for name in names if columns.get(name) in sources]
    return next(read_batches(plan, compartment, [rows], lost))[1] if lost else ()


def positions_of(plan: Plan, compartment: str, chunk: int) -> "list[np.ndarray | None]":
    """For each batch the positions among the compartment's rows of those that belong to the joined table's, -1 where
    none does; None where they are the rows as they are."""
    import numpy as np

    kept = kept_rows(plan, chunk)
    if compartment != plan.base:
        matches = plan.matches(compartment, chunk)
        found = matches if kept is None else [own[mask] for own, mask in zip(matches, kept, strict=True)]
    elif kept is not None:
        found = [np.flatnonzero(mask) for mask in kept]
    else:
        return [None] * (len(plan.batches[chunk]) - 1)
    lengths = map(len, plan.rows(compartment, chunk))
    return [
        None if len(own) == length and (own == np.arange(length)).all() else own
        for own, length in zip(found, lengths, strict=True)
    ]
