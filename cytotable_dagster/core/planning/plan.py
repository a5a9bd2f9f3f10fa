"""The plan of a conversion: everything that its steps share, decided once and kept in a folder.

Steps get the folder's path, not the plan, so that nothing large travels to the workers. The folder holds
`plan.json.zst` and, for each compartment, the row numbers in the order of the result (`Cells.rows.int64`), rows by
image (`Cells.counts.int64`), and the positions of the rows that belong to each row of the base (`Cells.match.int64`).
"""

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import TargetError
from cytotable_dagster.core.model.column_types import ResultColumn
from cytotable_dagster.core.model.names import PLATE
from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.model.types import Link, Source, SourceTable, Unconverted
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.planning.unify import Columns, schema_of
from cytotable_dagster.core.sources.opening import copy_again, open_again
from cytotable_dagster.core.sources.protocols import BatchReader
from cytotable_dagster.core.support.file_values import FILE_VALUES
from cytotable_dagster.core.support.files import as_json, read_packed, write_packed
from cytotable_dagster.core.support.integer_file import load_integers
from cytotable_dagster.core.support.suggestions import there_are
from cytotable_dagster.core.version import VERSION

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from pydantic import TypeAdapter

# The column that `add_tablenumber` adds; a TableNumber of the source's own then makes room for it.
ADDED_TABLE_NUMBER = "Metadata_TableNumber"
OWN_TABLE_NUMBER = "Metadata_Image_TableNumber"
# What several plates in one table are told apart by, where the source does not say it.
ADDED_PLATE = PLATE

_FILE = "plan.json.zst"
# Plans that are kept in memory, as wide ones take a while to read.
_KEPT = 2


@dataclass(frozen=True)
class TablePlan:
    """A compartment's part of the plan: its source table, how it is read (`reader`, and `reason` where that is not
    the fast way), its columns in the result, its rows."""

    table: SourceTable
    reader: str
    reason: str
    columns: tuple[ResultColumn, ...]
    rows: int

    @cached_property
    def told(self) -> set[str]:
        """Source columns that no table has, but folders' names tell."""
        return {column.name for column in self.table.columns if column.told}

    @cached_property
    def names_plate(self) -> bool:
        """Whether it has the column that tells plates apart."""
        return any(column.name == ADDED_PLATE for column in self.columns)

    @cached_property
    def fields(self) -> "list[pa.Field]":
        """Names and types of its columns in the result, in their order there."""
        import pyarrow as pa

        columns = sorted(self.columns, key=lambda column: not column.beside)
        return [pa.field(column.name, pa.type_for_alias(column.type)) for column in columns]

    def result_name(self, source: str) -> str:
        """The name in the result of a source column."""
        return next(column.name for column in self.columns if column.source == source)


@dataclass(frozen=True)
class Plan:
    """`batches` holds, for each chunk, the bounds of its batches as image ordinals; `base` is the compartment that
    the joined table has one row for, `partners` are those joined to it beside the images, by `links`; `unjoined` those
    that cannot be, and why. `others` are tables that are taken whole (see `unconverted`), `unconverted` what nothing is
    made of. `skipped` are files that
    were left out, and why, `skipped_rows` how many rows of others were; `notes` what else was odd in the source.
    `number` is the TableNumber that tells the plate's rows from those of others, where the options ask for it; `plate`
    is what tables without `Metadata_Plate` get as such. `copies` is the folder of the copies of tables that are out of
    the ordinary; where a plan is kept longer than they are, `recopied` makes them anew."""

    folder: Path
    fingerprint: str
    version: str
    source: Source
    preset: Preset
    options: Options
    tables: tuple[TablePlan, ...]
    base: str | None
    partners: tuple[str, ...]
    images: int
    batches: tuple[tuple[int, ...], ...]
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    skipped_rows: int = 0
    number: int | None = None
    copies: Path | None = field(default=None, compare=False)
    plate: str | int | None = None
    links: tuple[Link, ...] = ()
    unjoined: tuple[tuple[str, str], ...] = ()
    others: tuple[TablePlan, ...] = ()
    unconverted: tuple[Unconverted, ...] = ()
    fitted: tuple[tuple[str, Columns], ...] = ()

    @property
    def compartments(self) -> tuple[str, ...]:
        return tuple(part.table.compartment for part in self.tables)

    @property
    def results(self) -> tuple[str, ...]:
        """What tables are made of, each by the name of its own: compartments, and tables that are taken whole."""
        return (*self.compartments, *(part.table.compartment for part in self.others))

    @property
    def chunk_count(self) -> int:
        return len(self.batches)

    @property
    def readers(self) -> tuple[tuple[str, str], ...]:
        """Source tables that are not read in the fast way, and why."""
        return tuple((part.table.name, part.reason) for part in self.tables if part.reason)

    def part(self, compartment: str) -> TablePlan:
        for part in (*self.tables, *self.others):
            if part.table.compartment == compartment:
                return part
        raise TargetError(
            f"{self.source.uri}: no compartment {compartment!r}; {there_are(compartment, self.compartments)}"
        )

    def open(self, compartment: str) -> "BatchReader":
        part = self.part(compartment)
        copies = self.copies or copies_in(self.folder)
        return open_again(self.source, self.preset, self.folder, copies, part.table, part.reader, part.reason)

    def rows(self, compartment: str, chunk: int) -> "list[np.ndarray]":
        """Row numbers of each batch of a chunk."""
        rows = self.ordered(compartment)
        return [rows[a:b].copy() for a, b in itertools.pairwise(self._row_bounds(compartment, chunk))]

    def counts(self, compartment: str) -> "np.ndarray":
        """How many rows of the compartment each image has, images in the order of the result."""
        return load_integers(self.folder / f"{compartment}.counts.int64")

    def ordered(self, compartment: str) -> "np.ndarray":
        """Row numbers of the whole compartment, in the order of the result."""
        return load_integers(self.folder / f"{compartment}.rows.int64")

    def partners_of_base(self, compartment: str) -> "np.ndarray":
        """For each row of the base the position in `ordered` of the one that belongs to it, -1 where none does."""
        return load_integers(self.folder / f"{compartment}.match.int64")

    def matches(self, compartment: str, chunk: int) -> "list[np.ndarray]":
        """For each batch of a chunk, and each of the base's rows in it, the position among the compartment's rows
        of the batch of the one that belongs to it, -1 where none does."""
        import numpy as np

        if self.base is None:
            return []
        match = self.partners_of_base(compartment)
        base = itertools.pairwise(self._row_bounds(self.base, chunk))
        starts = self._row_bounds(compartment, chunk)
        found = [(np.array(match[a:b]), start) for (a, b), start in zip(base, starts, strict=False)]
        return [np.where(positions < 0, -1, positions - start) for positions, start in found]

    def _row_bounds(self, compartment: str, chunk: int) -> list[int]:
        """Where each batch of a chunk starts among the compartment's rows, and where the last one ends."""
        ends = self.counts(compartment).cumsum()
        return [int(ends[image - 1]) if image else 0 for image in self.batches[chunk]]

    @cached_property
    def known(self) -> dict[Any, Any]:
        """What follows from a plan's columns and options, be it of which plate, and takes a while where there are
        thousands of columns: kept by those who found it for those who ask again."""
        return {}

    def knowing(self, known: dict[Any, Any]) -> "Plan":
        """This plan, that was just made, with what is `known` of one that is like it."""
        vars(self)["known"] = known
        return self

    def schema(self, compartment: str) -> "pa.Schema":
        """The Arrow schema of a compartment's files; the same object each time, by which writers know it."""
        import pyarrow as pa

        known = f"schema of {compartment}"
        if known not in self.known:
            added = [
                pa.field(name, pa.int64() if isinstance(value, int) else pa.string())
                for name, value in self.added_to(compartment).items()
            ]
            self.known[known] = pa.schema([*added, *self.part(compartment).fields])
        found: pa.Schema = self.known[known]
        return found

    def fitting(self, wanted: Mapping[str, Columns], own: Mapping[str, Columns]) -> "Plan":
        """The plan whose files have the columns of a table of several plates; `own` are those that it has alone."""
        fitted = tuple((name, columns) for name, columns in wanted.items() if columns != own[name])
        return replace(self, fitted=fitted).knowing(self.known)

    def fitted_schema(self, table: str) -> "pa.Schema | None":
        """The schema that a table's files are to have among other plates'; None where it is its own."""
        columns = dict(self.fitted).get(table)
        if columns is not None and columns not in self.known:
            self.known[columns] = schema_of(columns)
        return self.known.get(columns)

    def added_to(self, compartment: str) -> dict[str, int | str]:
        """Columns of a compartment that are not its source table's, with their one value."""
        said = any(part.names_plate for part in self.tables)
        own = self.part(compartment).names_plate
        # Which a plate alone need not repeat in its other tables.
        plate = None if own or (said and self.options.plate_name is None) else self.plate
        added = {ADDED_TABLE_NUMBER: self.number, ADDED_PLATE: plate}
        return {name: value for name, value in added.items() if value is not None}

    def facts(self) -> dict[str, str]:
        """What the footer of every file tells of its origin."""
        found = {
            "version": self.version,
            "plate": self.source.plate,
            "source_uri": self.source.uri,
            "source_etag": self.source.etag,
            "source_digest": self.source.digest,
            "preset": self.preset.name,
            "compartments": ",".join(self.results),
            "options": as_json(self.options),
            "fingerprint": self.fingerprint,
            "table_number": None if self.number is None else str(self.number),
        }
        return {name: value for name, value in found.items() if value is not None}


def copies_in(folder: Path) -> Path:
    """Where the copies of tables lie of a plan that is kept no longer than they are."""
    return folder / "copies"


def recopied(plan: Plan, source: Source, copies: Path) -> Plan:
    """The plan, kept with its source as that lies here now, and its copies made again in another folder."""
    for part in plan.tables:
        copy_again(source, part.table, copies, part.reader)
    found = replace(plan, source=source, copies=copies)
    save_plan(found)
    return found


def by_batch(plan: Plan, folder: Path) -> Path:
    """The folder of a plan whose chunks are the batches of this one; a new one, but where that is this."""
    if all(len(bounds) == 2 for bounds in plan.batches):
        return plan.folder
    folder.mkdir()
    save_plan(replace(plan, batches=tuple(itertools.chain(*map(itertools.pairwise, plan.batches)))), folder)
    return folder


def save_plan(plan: Plan, folder: Path | None = None) -> None:
    """Keep a plan in its folder, beside its rows, or in another."""
    write_packed((folder or plan.folder) / _FILE, as_json(plan))
    hold_plan(plan, folder)


def hold_plan(plan: Plan, folder: Path | None = None) -> None:
    """Keep a plan that was saved in memory as well, for those who load it next."""
    FILE_VALUES.put((folder or plan.folder) / _FILE, _load_plan, _KEPT, plan)


def load_plan(folder: Path) -> Plan:
    """The plan that `save_plan` kept in `folder`; FileNotFoundError where there is none."""
    return FILE_VALUES.get(folder / _FILE, _load_plan, _KEPT)


def _load_plan(path: Path) -> Plan:
    plan: Plan = _written_plan().validate_json(read_packed(path))
    return plan


@cache
def _written_plan() -> "TypeAdapter[Plan]":
    # Where a plan is still in memory nobody comes here, and pydantic costs a tenth of a second.
    from pydantic import TypeAdapter

    return TypeAdapter(Plan)


def fingerprint(source: Source, preset: Preset, options: Options) -> str:
    """What the results depend on, as 16 hexadecimal digits."""
    text = "\n".join([source.fingerprint, as_json(preset), as_json(options), VERSION])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
