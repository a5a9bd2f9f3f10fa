"""What the joined table is, by its plan: its compartments, its columns, and which of the base's rows are in it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import SchemaError, TargetError
from cytotable_dagster.core.model.names import DEFAULT_NAMES, PLATE, SITE, WELL, joined_order, partner_name, selects
from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.planning.options import KEEP
from cytotable_dagster.core.planning.plan import Plan

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True)
class JoinedColumn:
    """A column of the joined table: its name, and the compartment and column it comes from."""

    name: str
    compartment: str
    column: str


def base_compartment(plan: Plan) -> str:
    """The compartment that the joined table has one row for.

    Raises:
        TargetError: the plate has no table of objects.
    """
    if plan.base is None:
        raise TargetError(f"{plan.source.uri}: no table of objects to make single cells of")
    return plan.base


def joined_columns(plan: Plan) -> tuple[JoinedColumn, ...]:
    """The columns of the joined table, in order.

    Raises:
        TargetError: the plate has no table of objects.
        SchemaError: two tables give it columns of one name.
    """
    if "joined columns" not in plan.known:
        plan.known["joined columns"] = _joined_columns(plan)
    found: tuple[JoinedColumn, ...] = plan.known["joined columns"]
    return found


def _joined_columns(plan: Plan) -> tuple[JoinedColumn, ...]:
    base = base_compartment(plan)
    found = {name: JoinedColumn(name, base, name) for name in plan.schema(base).names}
    image_keys = plan.preset.keys_of(IMAGE)
    for compartment in plan.partners:
        told = plan.part(compartment).told
        for column in plan.part(compartment).columns:
            # A partner's image is the base's, and so are its numbers and what its folder tells; what stands beside a
            # column is for one that has it alone.
            if column.source not in image_keys and column.source not in told and not column.beside:
                name = partner_name(column.name, compartment, found)
                if name in found:
                    raise SchemaError(
                        f"{plan.source.uri}: {found[name].compartment} and {compartment} both have a column {name}; "
                        "tell them apart with identifying_columns=, or leave one out with targets="
                    )
                found[name] = JoinedColumn(name, compartment, column.name)
    images = _image_columns(plan)
    clashing = _clashing({*found, *images}) if plan.options.names == DEFAULT_NAMES else set()
    for own in images:
        name = f"Metadata_{own}" if own in clashing else own
        if name not in found:
            found[name] = JoinedColumn(name, IMAGE, own)
    # Names without a compartment's say nothing of where they belong; the source's order does.
    return tuple(found[name] for name in (joined_order(found) if plan.preset.prefix else found))


def _image_columns(plan: Plan) -> list[str]:
    """The columns that the image table gives to the joined table."""
    if IMAGE not in plan.compartments:
        return []
    beside = {column.name for column in plan.part(IMAGE).columns if column.beside}
    return [
        name
        for name in plan.schema(IMAGE).names
        if name in beside or plan.options.image_features or selects(plan.preset.image_columns, name)
    ]


def _clashing(names: set[str]) -> set[str]:
    """Columns that pycytominer's `annotate` would give the name of another: it takes `Image_` off plate, well, site."""
    return {f"{IMAGE}_{name}" for name in (PLATE, WELL, SITE) if name in names}


def joined_schema(plan: Plan) -> "pa.Schema":
    """The Arrow schema of the joined table."""
    import pyarrow as pa

    if "joined schema" not in plan.known:
        schemas = {compartment: plan.schema(compartment) for compartment in plan.compartments}
        types = [(c.name, schemas[c.compartment].field(c.column).type) for c in joined_columns(plan)]
        plan.known["joined schema"] = pa.schema(types)
    found: pa.Schema = plan.known["joined schema"]
    return found


def joined_compartments(plan: Plan) -> tuple[str, ...]:
    """The compartments that the joined table is made of."""
    image = (IMAGE,) if IMAGE in plan.compartments else ()
    return (base_compartment(plan), *plan.partners, *image)


def kept_rows(plan: Plan, chunk: int) -> "list[np.ndarray] | None":
    """For each batch of a chunk which of the base's rows are rows of the joined table; None where all are."""
    import numpy as np

    if plan.options.unmatched == KEEP or not plan.partners:
        return None
    found = zip(*(plan.matches(partner, chunk) for partner in plan.partners), strict=True)
    return [np.logical_and.reduce([positions >= 0 for positions in batch]) for batch in found]


def left_out(plan: Plan) -> int:
    """How many of the base's rows are not in the joined table, for lacking an object that belongs to them."""
    import numpy as np

    if plan.options.unmatched == KEEP or not plan.partners:
        return 0
    lacking = np.logical_or.reduce([plan.partners_of_base(partner) < 0 for partner in plan.partners])
    return int(np.count_nonzero(lacking))
