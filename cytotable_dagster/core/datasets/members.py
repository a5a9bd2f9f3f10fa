"""A table of a dataset as its files are, and the index that spares reading all their footers again.

<dataset>/_index/Cells.json
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from cytotable_dagster.core.datasets.files import Content, file_name, is_old
from cytotable_dagster.core.planning.unify import Columns
from cytotable_dagster.core.shown import counted, human_bytes
from cytotable_dagster.core.storage.destination import Destination, Stored

INDEX = "_index"


@dataclass(frozen=True)
class Member:
    """A plate's file in a dataset: `stored` as it is there, `origin` what the file that it was made of is known by,
    where that was said."""

    plate: str
    stored: Stored
    content: Content
    origin: str = ""

    @property
    def size(self) -> int:
        """Of the file, in bytes."""
        return self.stored.size

    @property
    def fingerprint(self) -> str | None:
        """What the file was made of (see `plan.fingerprint`); None for one of another producer."""
        return self.content.facts.get("fingerprint")


@dataclass(frozen=True, repr=False)
class Table:
    """A table of a dataset, as its files are now: `members` by plate, sorted. Printed, how much is in it."""

    dest: Destination
    name: str
    members: Mapping[str, Member]

    def __repr__(self) -> str:
        plates, rows = counted(len(self.members), "plate"), counted(self.rows, "row")
        return f"<{self.name}: {plates}, {rows}, {human_bytes(self.size)}>"

    @property
    def rows(self) -> int:
        return sum(member.content.rows for member in self.members.values())

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(member.size for member in self.members.values())

    @property
    def widest(self) -> Columns:
        """The most columns that a file has."""
        return max((member.content.columns for member in self.members.values()), key=len, default=())

    @property
    def is_old(self) -> bool:
        """Whether files lie as versions before this layout put them."""
        return any(is_old(member.stored.name) for member in self.members.values())

    def file_of(self, plate: str) -> str:
        """The name of a plate's file, which may be there."""
        if plate in self.members:
            return self.members[plate].stored.name
        return file_name(self.name, plate, [member.stored.name for member in self.members.values()])


def save_index(table: Table) -> None:
    """Remember what is in a table's files."""
    schemas = list(dict.fromkeys(member.content.columns for member in table.members.values()))
    places = {columns: place for place, columns in enumerate(schemas)}
    plates = {
        plate: {
            "size": member.size,
            "stamp": member.stored.stamp,
            "origin": member.origin,
            "rows": member.content.rows,
            "facts": dict(member.content.facts),
            "columns": places[member.content.columns],
        }
        for plate, member in table.members.items()
    }
    with table.dest.create(_index_name(table.name)) as out:
        out.write(json.dumps({"schemas": schemas, "plates": plates}).encode())


def _index_name(table: str) -> str:
    return f"{INDEX}/{table}.json"


def read_index(dest: Destination, table: str) -> dict[str, Member]:
    """What was known when the index was written; nothing where it cannot be read."""
    try:
        with dest.open(_index_name(table)) as file:
            index = json.loads(file.read())
        schemas = [tuple((name, kind) for name, kind in columns) for columns in index["schemas"]]
        return {
            plate: Member(
                plate,
                Stored("", entry["size"], entry["stamp"]),
                Content(entry["rows"], schemas[entry["columns"]], entry["facts"]),
                entry["origin"],
            )
            for plate, entry in index["plates"].items()
        }
    except (OSError, ValueError, LookupError, TypeError):
        return {}
