"""Two tables that should say the same: rows matched by their keys, values equal to the last bit.

What differs is looked up among the listed differences; what none of them explains is reported. Nothing is rounded.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from re import DOTALL, fullmatch

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Mask = Callable[[pa.Table], pa.ChunkedArray]
"""Which rows of a table."""

Allows = Callable[[object, object], bool]
"""Whether a pair of values, CytoTable's and ours, is as the difference says."""


# What tells rows apart where CytoTable has no numbers for them.
_PLAIN_KEYS = ("Plate ID", "Row", "Column", "FOV", "OBJECT ID", "Metadata_NPZSource", "Location_Center_X")


@dataclass(frozen=True)
class Where:
    """The table compared: the name of its case, the preset, and `Image`, `Cells`, ... or `single_cells`."""

    case: str
    preset: str
    table: str


@dataclass(frozen=True)
class Listed:
    """A difference that is meant. `case`, `preset`, `table` and `column` are patterns of whole names.

    Kinds:
        renamed: a column of CytoTable's is called `becomes` in ours; its values are compared all the same.
        dropped: a column of CytoTable's is not in ours.
        added: a column of ours is not in CytoTable's.
        type: a column has another type; its values are compared all the same.
        values: values differ in the way that `allows` says.
        their rows: only CytoTable has the rows that `rows` says.
        our rows: only ours has the rows that `rows` says.
        their table: only CytoTable makes a file of a table.
        column order: ours puts the column elsewhere; all others keep their order.
        row order, file name, footer: as they say.
        fails: CytoTable ends with an error that the pattern `column` fits, where ours gives a result.
        refuses: the same, the other way round.
    """

    id: str
    kind: str
    case: str = ".*"
    preset: str = ".*"
    table: str = ".*"
    column: str = ".*"
    becomes: str | None = None
    rows: Mask | None = None
    allows: Allows | None = None

    def concerns(self, where: Where) -> bool:
        pairs = ((self.case, where.case), (self.preset, where.preset), (self.table, where.table))
        return all(fullmatch(pattern, name) for pattern, name in pairs)

    def covers(self, kind: str, column: str = "") -> bool:
        return self.kind == kind and fullmatch(self.column, column, DOTALL) is not None


@dataclass(frozen=True)
class Found:
    """A difference found, and the listed one that explains it, if any does."""

    kind: str
    where: Where
    column: str
    detail: str
    listed: Listed | None = None

    def __str__(self) -> str:
        return f"{self.where.table}: {self.kind} {self.column}: {self.detail}"


def explained(kind: str, where: Where, column: str, detail: str, listed: Sequence[Listed]) -> Found:
    """A difference with the first listed one that covers it."""
    entry = next((entry for entry in listed if entry.concerns(where) and entry.covers(kind, column)), None)
    return Found(kind, where, column, detail, entry)


def compare(theirs: pa.Table, ours: pa.Table, where: Where, listed: Sequence[Listed]) -> list[Found]:
    """All differences of two tables, explained or not."""
    entries = [entry for entry in listed if entry.concerns(where)]
    found = _footer_differences(theirs, ours, where, entries)
    theirs, more = _renamed(theirs, ours, where, entries)
    found += [*more, *_column_differences(theirs, ours, where, entries)]
    theirs, more = _without_rows(theirs, "their rows", where, entries)
    found += more
    ours, more = _without_rows(ours, "our rows", where, entries)
    found += more
    keys = _keys(theirs, ours, where.table)
    theirs, more = _with_our_keys(theirs, ours, keys, where, entries)
    found += more
    if problem := _key_problem(theirs, ours, keys):
        return [*found, Found("keys", where, ", ".join(keys), problem)]
    if any(not theirs[key].equals(ours[key]) for key in keys):
        found.append(explained("row order", where, "", "the same rows in another order", entries))
        theirs, ours = _by_keys(theirs, keys), _by_keys(ours, keys)
    common = set(ours.column_names)
    for name, values in zip(theirs.column_names, theirs.columns, strict=True):
        if name in common:
            found += _value_differences(values, ours[name], where, name, entries)
    return found


def _footer_differences(theirs: pa.Table, ours: pa.Table, where: Where, entries: Sequence[Listed]) -> list[Found]:
    left, right = (sorted(key.decode() for key in table.schema.metadata or {}) for table in (theirs, ours))
    return [explained("footer", where, "", f"{left} is {right}", entries)] if left != right else []


def _renamed(theirs: pa.Table, ours: pa.Table, where: Where, entries: Sequence[Listed]) -> tuple[pa.Table, list[Found]]:
    """CytoTable's table with the names that its columns have in ours."""
    names, found = list(theirs.column_names), []
    wanted = set(ours.column_names) - set(names)
    for position, name in enumerate(theirs.column_names):
        entry = next((entry for entry in entries if entry.covers("renamed", name)), None)
        if entry and entry.becomes in wanted:
            names[position] = entry.becomes
            found.append(Found("renamed", where, name, f"is {entry.becomes}", entry))
    return theirs.rename_columns(names), found


def _column_differences(theirs: pa.Table, ours: pa.Table, where: Where, entries: Sequence[Listed]) -> Iterator[Found]:
    common = set(theirs.column_names) & set(ours.column_names)
    for kind, table, detail in (("dropped", theirs, "is not in ours"), ("added", ours, "is not in CytoTable's")):
        for name in table.column_names:
            if name not in common:
                yield explained(kind, where, name, detail, entries)
    left, right = ([name for name in table.column_names if name in common] for table in (theirs, ours))
    if left == right:
        return
    moved = {name: entry for entry in entries for name in common if entry.covers("column order", name)}
    for name, other in zip(*([name for name in names if name not in moved] for names in (left, right)), strict=True):
        if name != other:
            yield Found("column order", where, name, f"comes where ours has {other}")
            return
    for name, entry in moved.items():
        yield Found("column order", where, name, "is elsewhere", entry)


def _without_rows(table: pa.Table, kind: str, where: Where, entries: Sequence[Listed]) -> tuple[pa.Table, list[Found]]:
    found = []
    for entry in entries:
        if entry.covers(kind) and entry.rows is not None:
            chosen = pc.fill_null(entry.rows(table), False)
            if count := chosen.combine_chunks().true_count:
                table = table.filter(pc.invert(chosen))
                found.append(Found(kind, where, "", f"{count} rows", entry))
    return table, found


def _keys(theirs: pa.Table, ours: pa.Table, table: str) -> list[str]:
    """The columns that identify a row, of those that both have."""
    base = "Cytoplasm" if table == "single_cells" else table
    bare = ("TableNumber", "ImageNumber", "ObjectNumber", f"{base}_ObjectNumber", f"{base}_Number_Object_Number")
    names = [name for key in bare for name in (f"Metadata_{key}", key)]
    common = [name for name in theirs.column_names if name in ours.column_names]
    return [name for name in names if name in common] or [name for name in _PLAIN_KEYS if name in common]


def _with_our_keys(
    theirs: pa.Table, ours: pa.Table, keys: Sequence[str], where: Where, entries: Sequence[Listed]
) -> tuple[pa.Table, list[Found]]:
    """CytoTable's table with keys of our types, so that they can be matched."""
    found = []
    for key in keys:
        if theirs[key].type != ours[key].type:
            found.append(explained("type", where, key, f"{theirs[key].type} is {ours[key].type}", entries))
            theirs = theirs.set_column(theirs.column_names.index(key), key, theirs[key].cast(ours[key].type))
    return theirs, found


def _by_keys(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    return table.take(pc.sort_indices(table, [(key, "ascending") for key in keys]))


def _key_problem(theirs: pa.Table, ours: pa.Table, keys: Sequence[str]) -> str | None:
    """What makes it impossible to match rows one to one."""
    left, right = (list(zip(*(table[key].to_pylist() for key in keys), strict=True)) for table in (theirs, ours))
    for who, rows in (("CytoTable", left), ("ours", right)):
        if len(set(rows)) < len(rows):
            return f"{who} has {len(rows)} rows and {len(set(rows))} keys"
    if set(left) == set(right):
        return None
    only_left, only_right = (sorted(map(str, some)) for some in (set(left) - set(right), set(right) - set(left)))
    return (
        f"{len(only_left)} rows only in CytoTable's, such as {only_left[:3]}; "
        f"{len(only_right)} only in ours, such as {only_right[:3]}"
    )


def _value_differences(
    theirs: pa.ChunkedArray, ours: pa.ChunkedArray, where: Where, column: str, entries: Sequence[Listed]
) -> Iterator[Found]:
    if theirs.type != ours.type:
        yield explained("type", where, column, f"{theirs.type} is {ours.type}", entries)
    elif _bits_equal(theirs.combine_chunks(), ours.combine_chunks()):
        return
    values = zip(theirs.to_pylist(), ours.to_pylist(), strict=True)
    pairs = [pair for pair in values if not _same(*pair)]
    for entry in entries:
        if entry.covers("values", column) and entry.allows is not None:
            left = [pair for pair in pairs if not entry.allows(*pair)]
            if len(left) < len(pairs):
                yield Found("values", where, column, f"{len(pairs) - len(left)} values", entry)
            pairs = left
    if pairs:
        yield Found("values", where, column, f"{len(pairs)} values, such as {pairs[0][0]!r} that is {pairs[0][1]!r}")


def _bits_equal(theirs: pa.Array, ours: pa.Array) -> bool:
    if not theirs.is_null().equals(ours.is_null()):
        return False
    if pa.types.is_floating(theirs.type):
        left, right = (values.fill_null(0.0).to_numpy() for values in (theirs, ours))
        return left.tobytes() == np.asarray(right).tobytes()
    return theirs.equals(ours)


def _same(theirs: object, ours: object) -> bool:
    """Equal values; a whole number equals the real that says the same."""
    if isinstance(theirs, float) and isinstance(ours, float):
        return theirs.hex() == ours.hex()
    if isinstance(theirs, str) != isinstance(ours, str):
        return False
    return theirs == ours
