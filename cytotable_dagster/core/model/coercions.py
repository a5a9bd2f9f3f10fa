"""Values that are not of their column's type: added up by column, and told in a file's footer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace

from cytotable_dagster.core.model.types import Coercion

_ENTRY = "coercions"


def merged(coercions: Sequence[Coercion]) -> tuple[Coercion, ...]:
    """One entry a column: counts added, the first example kept."""
    totals: dict[tuple[str, str, str], Coercion] = {}
    for item in coercions:
        column = (item.column, item.table, item.source)
        first = totals.get(column)
        if first:
            item = replace(first, count=first.count + item.count, rounded=first.rounded + item.rounded)
        totals[column] = item
    return tuple(totals.values())


def as_facts(coercions: Sequence[Coercion]) -> dict[str, str]:
    """The fact of a footer that tells of them; no fact where there are none."""
    told = [astuple(item) if item.rounded else astuple(item)[:-1] for item in coercions]
    return {_ENTRY: json.dumps(told, separators=(",", ":"))} if told else {}


def in_facts(facts: Mapping[str, str]) -> tuple[Coercion, ...]:
    """What `as_facts` told."""
    return tuple(Coercion(*item) for item in json.loads(facts.get(_ENTRY, "[]")))
