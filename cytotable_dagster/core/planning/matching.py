"""Which rows of the compartments belong to which of the base's, over as many steps as the links between them have."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.model.types import Link
from cytotable_dagster.core.planning import chunks

if TYPE_CHECKING:
    import numpy as np


def matches_of(
    orders: "Mapping[str, chunks.RowOrder]", base: str | None, links: Sequence[Link]
) -> "dict[str, np.ndarray]":
    """For each compartment joined to the base, the positions of its rows that belong to the base's; none of one whose
    numbers do not tell its objects apart."""
    import numpy as np

    if base is None:
        return {}
    found: dict[str, np.ndarray] = {}
    for link in links:
        if link.child != base and link.child not in found:
            continue
        match = chunks.match_linked(orders[link.child], orders[link.parent], link)
        if match is not None:
            # The position at the end is what a position of -1 finds.
            found[link.parent] = match if link.child == base else np.append(match, -1)[found[link.child]]
    if IMAGE in orders:
        found[IMAGE] = chunks.match_images(orders[base], orders[IMAGE])
    return found
