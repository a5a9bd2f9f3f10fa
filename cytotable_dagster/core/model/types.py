"""The nouns: small frozen records that pass between steps, cheap to pickle."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cytotable_dagster.core.support.pieces import Content

# What the joined table is called.
SINGLE_CELLS = "single_cells"


@dataclass(frozen=True)
class Plate:
    """One physical plate and where its measurements are.

    `name` is the barcode, taken from the file's name; `uri` is a path or an address in a store. `note` is what is to be
    told of how it was found.
    """

    name: str
    uri: str
    note: str = field(default="", compare=False)


# What each file of a source is known by (see `sources.state`), by name.
State = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Source:
    """A plate that lies on this machine, with the facts that identify its content.

    `etag` is the store's (None for a plain file), `digest` that of the content where it is known, `md5:...` or
    `xxh3-128:...`;
    `size` is in bytes. `fingerprint` changes whenever the content may have changed. `unverified` says why a downloaded
    copy could not be compared with the store's, and is empty where it could. `state` is what its files were known by
    before anything was read of them; `settled` a copy to be read in place of `path`, where the newest content of that
    lies in a log beside it; `note` is the plate's.
    """

    plate: str
    uri: str
    path: Path
    size: int
    etag: str | None
    digest: str | None
    fingerprint: str
    unverified: str = ""
    state: State = field(default=(), repr=False, compare=False)
    settled: Path | None = field(default=None, compare=False)
    note: str = field(default="", compare=False)

    @property
    def file(self) -> Path:
        """What is read."""
        return self.settled or self.path


class SourceColumn(NamedTuple):
    """A column as its table declares it; `affinity` as in https://sqlite.org/datatype3.html#determination_of_column_affinity.

    `measured` is False where the source says that it is no measurement; `told` is True where no table of the source has
    it, but a folder's name tells it. Such a column is called so in the result too."""

    name: str
    declared: str
    affinity: str
    measured: bool = True
    told: bool = False


@dataclass(frozen=True)
class SourceTable:
    """A table of a source: `compartment` is `Image`, `Cells`, ...; `name` is what the file calls it. One that is its
    compartment's part of a table is named for both, and that table is the `whole`."""

    compartment: str
    name: str
    columns: tuple[SourceColumn, ...]
    whole: str | None = None

    @property
    def stored(self) -> str:
        """The table that is read."""
        return self.name if self.whole is None else self.whole

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True)
class Unconverted:
    """A table or file of a source that nothing is made of: why, and what would take it (empty where nothing does);
    `rows` where they are few and cheaply counted."""

    name: str
    rows: int | None
    reason: str
    remedy: str

    def __str__(self) -> str:
        rows = "" if self.rows is None else f" ({self.rows:,} {'row' if self.rows == 1 else 'rows'})"
        return f"{self.name}{rows}: {self.reason}{self.remedy and '; '}{self.remedy}"


@dataclass(frozen=True)
class Link:
    """A column of `child` that holds the object number of its `parent` in the same image; or where `parent_column` is
    given, the number that is in that column of the parent: that of an object both were made of."""

    child: str
    column: str
    parent: str
    parent_column: str | None = None


@dataclass(frozen=True)
class Coercion:
    """Values of one column that did not fit its type: how many, and one of them.

    They became null; `rounded` of them are whole numbers that became the nearest number of the type.
    A reader knows a column by its source's name; what comes of a plan has the result's name as `column`, and `table`
    and `source` for where its values are from.
    """

    column: str
    count: int
    example: str
    table: str = ""
    source: str = ""
    rounded: int = 0


@dataclass(frozen=True)
class FileFacts:
    """A Parquet file (or folder of them) that a step wrote; `size` in bytes, `seconds` of wall time.

    `content` is what is to be in the file, where it was not written but kept in memory.
    """

    path: Path
    rows: int
    columns: int
    size: int
    seconds: float
    coercions: tuple[Coercion, ...] = ()
    content: Content | None = None
