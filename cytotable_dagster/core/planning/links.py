"""How tables of objects hang together: which column of a child's table numbers its parent's objects."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from cytotable_dagster.core.model.presets import BASE_ORDER, IMAGE, Preset
from cytotable_dagster.core.model.types import Link, SourceTable

# What names of objects say of where they stand in a pipeline.
_STEPS = re.compile(r"original|orig|preliminary|prelim|initial|unfiltered|filtered|final")


def joined_by(tables: Sequence[SourceTable], preset: Preset) -> tuple[str | None, tuple[Link, ...]]:
    """The compartment that the joined table has one row for, and how the others are joined to it, step by step: each
    link starts at the base or at what an earlier one reaches.

    The base is the first of `base_order` that is there, unless that is nobody's own choice and another reaches all
    others. Columns that the preset's `parent` or `links` name go before numbers that two tables share.
    """
    there = {table.compartment: set(table.column_names) for table in tables if table.compartment != IMAGE}
    candidates = [name for name in dict.fromkeys((*preset.base_order, *preset.compartments)) if name in there]
    if not candidates:
        return None, ()
    direct = list(_direct(there, preset))
    first = _reached(candidates[0], direct, ())
    if len(first) == len(there) - 1:
        return candidates[0], first
    shared = list(_shared(there, preset))
    reached = {name: _reached(name, direct, shared) for name in candidates}
    chosen = preset.base_order != BASE_ORDER and candidates[0] in preset.base_order
    complete = [name for name in candidates if len(reached[name]) == len(there) - 1]
    base = complete[0] if complete and not chosen else candidates[0]
    return base, reached[base]


def columns_of(links: Sequence[Link], compartment: str) -> tuple[str, ...]:
    """The columns of a compartment that links go by."""
    own = [link.column for link in links if link.child == compartment]
    parents = [link.parent_column for link in links if link.parent == compartment and link.parent_column]
    return tuple(dict.fromkeys((*own, *parents)))


def told(link: Link) -> str:
    """A link in a few words: `Cells.Parent_OrigNuclei = Nuclei.Parent_OrigNuclei`."""
    equal = f" = {link.parent}.{link.parent_column}" if link.parent_column else ""
    return f"{link.child}.{link.column}{equal}"


def unjoined(
    tables: Sequence[SourceTable], preset: Preset, base: str | None, partners: Collection[str], links: Sequence[Link]
) -> tuple[tuple[str, str], ...]:
    """Compartments that are not joined to the base, and why; with the line of a preset that would join them, where
    there is a column that may number them.

    Args:
        partners: those that are joined.
        links: by which all were to be joined.
    """
    if base is None:
        return ()
    named = {table.compartment: table for table in tables if table.compartment != IMAGE}
    lacking = [name for name in named if name != base and name not in partners]
    return tuple((name, _why_not(name, named, preset, base, partners, links)) for name in lacking)


def _direct(there: Mapping[str, Collection[str]], preset: Preset) -> Iterator[Link]:
    """Links by the columns that the preset names."""
    for child, columns in there.items():
        own = [link for link in preset.links if link.child == child]
        yield from (
            link
            for link in own
            if link.parent in there
            and link.column in columns
            and (link.parent_column is None or link.parent_column in there[link.parent])
        )
        given = {link.parent for link in own}
        for parent, column in preset.parents_of(child).items():
            if parent in there and column in columns and parent not in given:
                yield Link(child, column, parent)


def _shared(there: Mapping[str, Collection[str]], preset: Preset) -> Iterator[Link]:
    """Links by a parent that two tables have, whose name says that one of them is what was left of it: cells that were
    grown from OrigNuclei, and Nuclei that a filter numbered anew."""
    parents = {name: _parents_in(columns, name, preset) for name, columns in there.items()}
    for child, own in parents.items():
        for parent, others in parents.items():
            for name, column in own.items():
                if parent != child and name in others and _alike(name, parent):
                    yield Link(child, column, parent, others[name])


def _parents_in(columns: Collection[str], compartment: str, preset: Preset) -> dict[str, str]:
    """By the name of a parent the column of a compartment that numbers it."""
    pattern = re.escape(preset.parent.replace("{compartment}", compartment))
    pattern = pattern.replace(re.escape("{partner}"), "(?P<partner>.+)", 1)
    if "(?P<partner>" not in pattern:
        return {}
    found = [(re.fullmatch(pattern, column), column) for column in sorted(columns)]
    return {match["partner"]: column for match, column in found if match and match["partner"] != compartment}


def _alike(name: str, other: str) -> bool:
    """Whether one name has the other in it, but for the step of a pipeline: OrigNuclei and FilteredNuclei, Cells and
    LargeCells."""
    one, two = (_STEPS.sub("", text.replace("_", "").lower()) for text in (name, other))
    return bool(one and two) and (one in two or two in one)


def _reached(base: str, direct: Sequence[Link], shared: Sequence[Link]) -> tuple[Link, ...]:
    found: list[Link] = []
    reached = [base]
    while True:
        step = next(
            (
                link
                for links in (direct, shared)
                for child in reached
                for link in links
                if link.child == child and link.parent not in reached
            ),
            None,
        )
        if step is None:
            return tuple(found)
        found.append(step)
        reached.append(step.parent)


def _why_not(
    name: str,
    tables: Mapping[str, SourceTable],
    preset: Preset,
    base: str,
    partners: Collection[str],
    links: Sequence[Link],
) -> str:
    tried = next((link for link in links if link.parent == name), None)
    if tried is not None and tried.parent_column:
        return f"{tables[name].name} has objects of one image with equal {tried.parent_column}"
    if tried is not None:
        return f"{tried.child} is not"
    wanted = preset.parents_of(base).get(name)
    given = next((link for link in preset.links if link.parent == name), None)
    reason = (
        f"{tables[base].name} has no column {wanted}"
        if given is None
        else f"there is no column {given.column} of {given.child}, which the preset's links name"
    )
    advice = _advice(name, tables, preset, [base, *partners])
    return f"{reason}; {advice}" if advice else reason


def _advice(name: str, tables: Mapping[str, SourceTable], preset: Preset, joined: Sequence[str]) -> str:
    """The line of a preset that may join a compartment; empty where no column speaks for one."""
    own = _parents_in(tables[name].column_names, name, preset)
    found = [
        (_alike(parent, name), Link(child, column, name, own.get(parent)))
        for child in joined
        for parent, column in _parents_in(tables[child].column_names, child, preset).items()
        if parent not in tables
    ]
    alike = [link for is_alike, link in found if is_alike]
    if not alike and set(own) & set(joined):
        return f'base_order = ["{name}"] in a preset makes a row of each of them'
    for link in (*alike, *(link for _, link in found)):
        more = f', parent_column = "{link.parent_column}"' if link.parent_column else ""
        line = f'links = [{{child = "{link.child}", column = "{link.column}", parent = "{name}"{more}}}]'
        return f"if {told(link)} tells of them, a preset says so by {line}"
    return ""
