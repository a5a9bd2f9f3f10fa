"""Datasets: the tables of many plates, each a folder with a Parquet file for each plate.

<dataset>/Cells/BR00126114.parquet
<dataset>/Image/...
<dataset>/_index/Cells.json

A file is replaced in one step, so that readers see a plate's old rows or its new ones. Its footer says where it is
from; the index only spares reading all footers again, and follows the files wherever they differ from it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cytotable_dagster.core.datasets.files import Content, contents, file_name, files_of, is_old, table_names
from cytotable_dagster.core.datasets.members import Member, Table, read_index, save_index
from cytotable_dagster.core.errors import SourceNotFoundError
from cytotable_dagster.core.model.names import other_name
from cytotable_dagster.core.model.types import Coercion
from cytotable_dagster.core.model.values import has_no_value
from cytotable_dagster.core.parquet.refit import Fill, refit
from cytotable_dagster.core.parquet.rounding import rounded_in
from cytotable_dagster.core.planning.unify import Columns, schema_of
from cytotable_dagster.core.storage.destination import Claim, Destination, Stored

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Arrival:
    """A plate's file on its way into a table: a whole Parquet file of our own writing, called `name` in its `place`,
    which may be linked to and is never written to again; `content` is what is in it. `fills` are columns that it does
    not have under their names, `fitted` all that it has with those, where there are any."""

    place: Destination
    name: str
    content: Content
    origin: str = ""
    fills: Mapping[str, Fill] = field(default_factory=dict)
    fitted: Columns | None = None

    @property
    def columns(self) -> Columns:
        """What it has among other plates' files, before they are made to fit each other."""
        return self.content.columns if self.fitted is None else self.fitted


def open_table(dest: Destination, name: str, before: "Table | None" = None) -> Table:
    """A table as it is now. Only footers that the index does not know are read.

    Args:
        before: the table as it was, to be believed instead of the index where files are the same.

    Raises:
        SchemaError: a file that is not Parquet.
    """
    known = read_index(dest, name) if before is None else before.members
    stored = files_of(dest, name)
    same = {plate for plate, item in stored.items() if plate in known and _is_same(known[plate].stored, item)}
    new = [plate for plate in stored if plate not in same]
    read = dict(zip(new, contents(dest, [stored[plate].name for plate in new]), strict=True))
    members = {
        plate: replace(known[plate], stored=item) if plate in same else Member(plate, item, read[plate])
        for plate, item in stored.items()
    }
    return Table(dest, name, dict(sorted(members.items())))


def flatten(dest: Destination, claim: Claim) -> bool:
    """Give files that lie as versions before this layout put them, `Cells/plate=A/part-0.parquet`, their names here;
    whether there were any.

    Args:
        claim: to the whole dataset.
    """
    old = {stored.name.split("/")[0] for stored in dest.list() if is_old(stored.name)}
    for table in [open_table(dest, name) for name in sorted(old)]:
        try:
            for plate, member in table.members.items():
                if is_old(member.stored.name):
                    claim.check()
                    name = file_name(table.name, plate, [other.stored.name for other in table.members.values()])
                    dest.move(member.stored.name, name)
                    table = _with(table, plate, name, member.content, member.origin)
        finally:
            save_index(table)
    return bool(old)


def put_plate(table: Table, plate: str, arrival: Arrival, columns: Columns) -> Table:
    """Put a plate's file into a table, in place of the one that is there; others are not touched.

    Args:
        columns: what it is to have; where it differs, a copy with other columns is made (see `parquet.refit`).
    """
    name, content = table.file_of(plate), arrival.content
    if not arrival.fills and content.columns == columns:
        table.dest.put_from(arrival.place, arrival.name, name)
    else:
        with arrival.place.open(arrival.name) as source:
            _fit(table.dest, name, source, columns, arrival.fills)
    return _with(table, plate, name, replace(content, columns=columns), arrival.origin)


def retyped(table: Table, wanted: Columns, but: Collection[str] = ()) -> dict[str, Columns]:
    """By plate its columns in the types of `wanted`, and called as there; plates in `but` left out."""
    types, members = dict(wanted), {plate: member for plate, member in table.members.items() if plate not in but}
    fitting = {columns: _retyped(columns, types) for columns in {member.content.columns for member in members.values()}}
    return {plate: fitting[member.content.columns] for plate, member in members.items()}


def _retyped(columns: Columns, types: Mapping[str, str]) -> Columns:
    own = {name for name, _ in columns}
    # Of two names that mean one column, `unify.unified` leaves the one that has no value in it.
    called = [name if name in types or other_name(name) in own else other_name(name) for name, _ in columns]
    return tuple(
        (new, types[new]) if new in types else (name, kind) for new, (name, kind) in zip(called, columns, strict=True)
    )


def fit_plates(table: Table, wanted: Mapping[str, Columns]) -> Table:
    """Give plates' files the columns wanted, one after the other; a file that has them is left alone."""
    for plate, columns in wanted.items():
        member = table.members[plate]
        if member.content.columns != columns:
            name = member.stored.name
            with table.dest.open(name) as source:
                _fit(table.dest, name, source, columns, {})
            table = _with(table, plate, name, replace(member.content, columns=columns), member.origin)
    return table


def rounding(
    table: Table, wanted: Mapping[str, Columns], arrivals: Mapping[str, Arrival] | None = None
) -> tuple[tuple[str, Coercion], ...]:
    """Whole numbers, by plate, that `fit_plates` rounds, or `put_plate` where a plate's file arrives."""
    found = []
    for plate, columns in wanted.items():
        arrival = (arrivals or {}).get(plate)
        own = table.members[plate].content.columns if arrival is None else arrival.content.columns
        whole = {name for name, kind in own if "int" in kind}
        becoming = tuple((name, kind) for name, kind in columns if name in whole and kind in ("double", "float"))
        if becoming:
            place, name = (table.dest, table.file_of(plate)) if arrival is None else (arrival.place, arrival.name)
            with place.open(name) as source:
                schema = schema_of(becoming)
                types = dict(zip(schema.names, schema.types, strict=True))
                found += [(plate, replace(item, table=table.name)) for item in rounded_in(source, types)]
    return tuple(found)


def remove_plate(dest: Destination, plate: str) -> tuple[str, ...]:
    """Remove a plate from all tables; those that it was in.

    Raises:
        SourceNotFoundError: it is in none.
        DestinationInUseError: another process writes to the dataset.
    """
    with dest.writing(file_by_file=True) as claim:
        dest.sweep()
        flatten(dest, claim)
        tables = [open_table(dest, name) for name in table_names(dest)]
        found = [table for table in tables if plate in table.members]
        if not found:
            raise SourceNotFoundError(
                f"{dest.address()}: holds no plate {plate!r}; `dataset list` shows those it holds"
            )
        for table in found:
            claim.check()
            save_index(drop_plate(table, plate))
    return tuple(table.name for table in found)


def drop_plate(table: Table, plate: str) -> Table:
    """Remove a plate from one table."""
    table.dest.remove(table.file_of(plate))
    return replace(table, members={name: member for name, member in table.members.items() if name != plate})


def column_is_empty(table: Table, plate: str, column: str) -> bool:
    """Whether a column of a plate's file has no value in any row."""
    import pyarrow.parquet as pq

    with table.dest.open(table.file_of(plate)) as source:
        return has_no_value(pq.read_table(source, columns=[column])[column])


def _fit(dest: Destination, name: str, source: "pa.NativeFile", columns: Columns, fills: Mapping[str, Fill]) -> None:
    with dest.create(name) as out:
        refit(source, schema_of(columns), fills, out)


def _with(table: Table, plate: str, name: str, content: Content, origin: str) -> Table:
    """The table with a plate's file as it is now."""
    stored = table.dest.find(name)
    if stored is None:
        raise SourceNotFoundError(f"{table.dest.address(name)}: was put there and is gone")
    # Hundreds of plates have a handful of schemas, thousands of columns each.
    same = (member.content.columns for member in table.members.values() if member.content.columns == content.columns)
    content = replace(content, columns=next(same, content.columns))
    member = Member(plate, stored, content, origin)
    return replace(table, members=dict(sorted({**table.members, plate: member}.items())))


def _is_same(known: Stored, stored: Stored) -> bool:
    return (known.size, known.stamp) == (stored.size, stored.stamp)
