"""Column names and their order in the results (DESIGN, "Column names")."""

import re
from collections.abc import Iterable, Sequence

from cytotable_dagster.core.presets import IMAGE

_FIRST = ("tablenumber", "imagenumber", "objectnumber")
_GROUPS = ("image", "cytoplasm", "cells", "nuclei")
# CellProfiler's names have no spaces, and IN Carta's `Class Name`, `WELL LABEL`, `Plate ID` nothing else.
_IDENTITY = re.compile(r"(^|_)(Metadata|FileName|PathName|URL|MD5Digest|TableNumber)(_|$)| (Name|Color|Path|LABEL|ID)$")


def result_name(column: str, compartment: str, identifying_columns: Iterable[str]) -> str:
    """The name that a source column of `compartment` has in the result."""
    own = column.startswith(compartment)
    if column not in identifying_columns:
        return column if own else f"{compartment}_{column}"
    if own:
        return f"Metadata_{column}"
    if column.startswith("Metadata_"):
        return column
    if IMAGE in column or "ObjectNumber" in column or "TableNumber" in column:
        return f"Metadata_{column}"
    return f"Metadata_{compartment}_{column}"


def plain_name(column: str, identifying_columns: Iterable[str]) -> str:
    """The name where compartments give none: a column's own, with `Metadata_` in front of what identifies rows."""
    plain = column not in identifying_columns or column.startswith("Metadata_")
    return column if plain else f"Metadata_{column}"


def partner_name(name: str, compartment: str, taken: Iterable[str]) -> str:
    """The name that a partner's result column has in the joined table, where `taken` are the base's."""
    if name not in taken or not name.startswith("Metadata_"):
        return name
    return f"Metadata_{compartment}_{name.removeprefix('Metadata_')}"


def joined_order(names: Iterable[str]) -> list[str]:
    """Names in the order of the joined table: keys, other metadata, Image, Cytoplasm, Cells, Nuclei, the rest."""
    return sorted(names, key=lambda name: (_rank(name), name))


def selects(patterns: Sequence[str], name: str) -> bool:
    """Whether any of the regular expressions matches the whole name."""
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def is_identity(column: str) -> bool:
    """Whether a source column names things (wells, files, digests), so that text in it is no number gone wrong."""
    return _IDENTITY.search(column) is not None


def _rank(name: str) -> int:
    lower = name.lower()
    bare = lower.removeprefix("metadata_")
    if bare in _FIRST:
        return _FIRST.index(bare)
    if "metadata" in lower:
        return len(_FIRST)
    for rank, group in enumerate(_GROUPS, start=len(_FIRST) + 1):
        if lower.startswith(group):
            return rank
    return len(_FIRST) + len(_GROUPS) + 1
