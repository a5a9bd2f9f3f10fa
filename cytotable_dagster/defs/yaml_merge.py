"""Settings put into a YAML file of somebody else's: what it lacks is added as lines of its own, and nothing that stands
there, comments neither, is touched."""

import textwrap
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from cytotable_dagster.core.errors import OptionError


@dataclass(frozen=True)
class Merged:
    """`added` names settings that were put in (`concurrency.pools.granularity`); `kept` tells of those that have a
    value of their own; `lacking` is what could not be put in, as lines of YAML."""

    text: str
    added: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    lacking: str = ""


@dataclass(frozen=True)
class _Insertion:
    """Lines that go before line `at` of a text, counted from 0."""

    at: int
    name: str
    lines: str


def merged(text: str, wanted: str, but: Collection[str] = ()) -> Merged:
    """A file's text with the settings of another that it lacks.

    Args:
        but: sections that are not put in, and told as lacking.

    Raises:
        OptionError: the file is no YAML, or no mapping.
    """
    ours = {key: value for key, value in yaml.safe_load(wanted).items() if key not in but}
    try:
        root, theirs = yaml.compose(text), yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise OptionError(f"not YAML that can be read ({' '.join(str(error).split())}); mend it first") from error
    if not isinstance(theirs, dict | None):
        raise OptionError("no mapping of settings; mend it first")
    kept: list[str] = []
    # Of those at one line, what belongs further in comes first.
    found = list(_below(root, theirs, ours, "", kept)) if theirs else []
    if root is None or root.flow_style is False:
        end, new = len(text.splitlines()), ours.keys() - (theirs or {}).keys()
        found += [_Insertion(end, key, block) for key, block in _blocks(wanted) if key in new]
    made = _with_lines(text, found)
    whole = _union(theirs or {}, ours)
    if _load(made) != whole:
        # A style in which lines cannot be added.
        return Merged(text, kept=tuple(kept), lacking=lacking(text, wanted))
    added = tuple(insertion.name for insertion in found)
    return Merged(made, added, tuple(kept), lacking(made, wanted) if but else "")


def lacking(text: str, wanted: str) -> str:
    """The settings that a file lacks, as lines of YAML."""
    theirs, ours = yaml.safe_load(text) or {}, yaml.safe_load(wanted)
    return _dump(_without(_union(theirs, ours), theirs))


def _below(
    node: yaml.MappingNode, theirs: Mapping[str, Any], ours: Mapping[str, Any], above: str, kept: list[str]
) -> Iterator[_Insertion]:
    """What sections that are there lack."""
    nodes = {key.value: value for key, value in node.value}
    for key, value in ours.items():
        name = f"{above}{key}"
        if key not in theirs:
            continue
        if not _is_open(theirs[key], value):
            if theirs[key] != value:
                own = theirs[key].get("class") if isinstance(theirs[key], dict) else theirs[key]
                kept.append(f"{name}: {own}")
            continue
        section = nodes[key]
        yield from _below(section, theirs[key], value, f"{name}.", kept)
        column = section.value[0][0].start_mark.column if section.value else 0
        for inner, wanted in value.items():
            if inner not in theirs[key]:
                lines = textwrap.indent(_dump({inner: wanted}), " " * column)
                yield _Insertion(_last_line(section) + 1, f"{name}.{inner}", lines)


def _is_open(theirs: Any, ours: Any) -> bool:
    """Whether both are sections, and of one class where they name a class, whose settings are its own."""
    return isinstance(theirs, dict) and isinstance(ours, dict) and theirs.get("class") == ours.get("class")


def _union(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    both = {key: _union(theirs[key], value) for key, value in ours.items() if _is_open(theirs.get(key), value)}
    return {**ours, **theirs, **both}


def _without(whole: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """What is in a union and not in one of its parts."""
    left = {}
    for key, value in whole.items():
        if key not in theirs:
            left[key] = value
        elif isinstance(value, dict) and (inner := _without(value, theirs[key])):
            left[key] = inner
    return left


def _last_line(node: yaml.Node) -> int:
    """The line on which the last value of a section ends; comments after it are not its own."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    mark = node.end_mark
    return int(mark.line - 1 if mark.column == 0 and mark.line > node.start_mark.line else mark.line)


def _with_lines(text: str, insertions: list[_Insertion]) -> str:
    lines = [f"{line}\n" for line in text.splitlines()]
    after: dict[int, str] = defaultdict(str)
    for insertion in insertions:
        after[insertion.at] += insertion.lines
    return after[0] + "".join(line + after[at] for at, line in enumerate(lines, start=1)) if insertions else text


def _blocks(wanted: str) -> Iterator[tuple[str, str]]:
    """The sections of a text, each with the comment of the paragraph that it is in, and a blank line before."""
    for paragraph in wanted.strip().split("\n\n"):
        comment, sections = "", list[str]()
        for line in paragraph.splitlines(keepends=True):
            if line.startswith("#"):
                comment += line
            elif line[0].isspace():
                sections[-1] += line
            else:
                sections.append(line)
        for section in sections:
            yield section.split(":")[0], f"\n{comment}{section.rstrip()}\n"
            comment = ""


def _dump(value: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(value), sort_keys=False) if value else ""


def _load(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None
