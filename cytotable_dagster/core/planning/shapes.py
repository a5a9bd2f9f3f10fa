"""Plans of plates whose tables have the same columns, of which memory holds these once."""

from dataclasses import replace
from threading import Lock
from typing import Any

from cytotable_dagster.core.planning.plan import Plan

# Different ones that are kept in memory, each of which may have thousands of columns.
_MOST = 4


class Shapes:
    """Plans by what their tables are: hundreds of plates have a handful of schemas. Safe to use from threads."""

    def __init__(self) -> None:
        self._seen: list[Plan] = []
        self._lock = Lock()

    def kept(self, plan: Plan) -> Plan | None:
        """The plan as it may stay in memory, with the columns of an equal one; None where it has columns of its own, as
        too many had before."""
        with self._lock:
            for other in self._seen:
                if (found := _sharing(plan, other)) is not None:
                    return found
            if len(self._seen) == _MOST:
                return None
            self._seen.append(plan)
            return plan


def _sharing(plan: Plan, other: Plan) -> Plan | None:
    """The plan with the columns of another, and with what follows from them; None where these differ."""
    if _shape(plan) != _shape(other):
        return None
    tables, others = (
        tuple(replace(part, table=same.table, columns=same.columns) for part, same in zip(own, theirs, strict=True))
        for own, theirs in ((plan.tables, other.tables), (plan.others, other.others))
    )
    return replace(plan, tables=tables, others=others).knowing(other.known)


def _shape(plan: Plan) -> tuple[Any, ...]:
    """All that decides what is `known` of a plan."""
    added = [[(name, type(value)) for name, value in plan.added_to(table).items()] for table in plan.results]
    parts = [(part.table, part.columns) for part in (*plan.tables, *plan.others)]
    options = replace(plan.options, plate_name=None)
    return added, plan.preset, options, plan.base, plan.partners, plan.links, parts
