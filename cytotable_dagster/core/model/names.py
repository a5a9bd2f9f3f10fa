"""Column names and their order in the results (DESIGN, "Column names")."""

import re
from collections.abc import Iterable, Sequence

from cytotable_dagster.core.model.presets import IMAGE, Preset

# How columns may be called: so that no tool takes for a measurement what is none, or exactly as CytoTable does.
DEFAULT_NAMES, CYTOTABLE_NAMES = "default", "cytotable"
NAMES = (DEFAULT_NAMES, CYTOTABLE_NAMES)
# What clients ask for by name, whatever the source calls it.
PLATE, WELL, SITE, OBJECT_NUMBER = "Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"
ASKED_FOR = (PLATE, WELL, SITE, OBJECT_NUMBER)
# What results may call an image's well, as they are named by one preset or another; the best first.
WELL_NAMES = (WELL, f"Image_{WELL}", f"Metadata_Image_{WELL}")

_FIRST = ("tablenumber", "imagenumber", "objectnumber")
_GROUPS = ("image", "cytoplasm", "cells", "nuclei")
# CellProfiler's names have no spaces, and IN Carta's `Class Name`, `WELL LABEL`, `Plate ID` nothing else.
_IDENTITY = re.compile(
    r"(?:^|_)(?:Metadata|FileName|PathName|URL|MD5Digest|TableNumber)(?:_|$)| (?:Name|Color|Path|LABEL|ID)$"
)
# Numbers of objects and images, of parents, neighbours and tracks too; IN Carta's slices and times.
_NUMBERING = re.compile(r"(?:Object_?|Image)Number|(?:^|_)Parent_|TrackObjects_Label(?:_|$)|^Slice | Time Stamp$")
_NO_MEASUREMENT = re.compile(f"{_IDENTITY.pattern}|{_NUMBERING.pattern}")


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


def column_name(column: str, compartment: str, preset: Preset, names: str, *, measured: bool) -> str:
    """The name of a source column in a compartment's result, `names` being one of NAMES.

    By default, what is `measured` of objects starts with their compartment's name, all else of them with `Metadata_`.
    """
    if preset.named:
        name = column
    elif preset.prefix:
        name = result_name(column, compartment, preset.identifying_columns)
    else:
        name = plain_name(column, preset.identifying_columns)
    of_images = compartment == IMAGE or (preset.named and name.startswith(f"{IMAGE}_"))
    if names == CYTOTABLE_NAMES or of_images or name.startswith("Metadata_"):
        return name
    if not measured:
        return f"Metadata_{name}"
    return name if preset.prefix or name.startswith(f"{compartment}_") else f"{compartment}_{name}"


def other_name(name: str) -> str:
    """What the column is called on a plate where it is a measurement, or is none."""
    bare = name.removeprefix("Metadata_")
    return f"Metadata_{name}" if bare == name else bare


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


def names_no_measurement(column: str) -> bool:
    """Whether a source column of objects names or numbers things rather than measuring them."""
    return _NO_MEASUREMENT.search(column) is not None


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
