"""A dataset's table kept in step with the plates of a lake: what is new there is put in, what is gone is taken out."""

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

from cytotable_dagster.core.datasets.files import Content, content_of
from cytotable_dagster.core.datasets.tables import (
    Table,
    column_is_empty,
    drop_plate,
    fit_plates,
    flatten,
    open_table,
    put_plate,
    retyped,
    save_index,
)
from cytotable_dagster.core.errors import DownloadError, SourceAccessError, SourceChangedError
from cytotable_dagster.core.lake.folder import PlateFolder, stored_results
from cytotable_dagster.core.model.names import joined_order
from cytotable_dagster.core.model.types import SINGLE_CELLS
from cytotable_dagster.core.parquet.refit import Constant, Fill, Renamed
from cytotable_dagster.core.planning.plan import ADDED_PLATE, ADDED_TABLE_NUMBER, OWN_TABLE_NUMBER, Plan, load_plan
from cytotable_dagster.core.planning.unify import Columns, Drift, unified
from cytotable_dagster.core.storage.destination import Claim, Destination, Stored


@dataclass(frozen=True)
class Update:
    """What an update did: the table as it is now, and the plates that came, changed and went. `left_out` are those that
    should have come or changed and could not, each with the reason; what was there of them stays."""

    table: Table
    drift: Drift
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    removed: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Fitting:
    """A plate's file on its way into a table: what is in it, the columns that it is to have among others', and how
    those come about that it has not."""

    content: Content
    columns: Columns
    fills: Mapping[str, Fill]


@dataclass(frozen=True)
class Behind:
    """Plates of a lake that a table has not, or has as they were, or has though they are gone."""

    missing: tuple[str, ...]
    older: tuple[str, ...]
    gone: tuple[str, ...]

    @property
    def none(self) -> bool:
        return not (self.missing or self.older or self.gone)


def behind(table: Table, plates: Mapping[str, PlateFolder]) -> Behind:
    """How a table differs from the lake's plates; a look at each file's state, not into the files."""
    states = {plate: _state(stored) for plate, stored in stored_results(plates, table.name).items()}
    return Behind(
        missing=tuple(plate for plate in states if plate not in table.members),
        older=tuple(
            plate for plate, state in states.items() if plate in table.members and table.members[plate].origin != state
        ),
        gone=tuple(plate for plate in table.members if plate not in states),
    )


def update_table(
    dest: Destination, name: str, plates: Mapping[str, PlateFolder], number_of: Callable[[str, Plan], int]
) -> Update:
    """Bring a table up to the lake's plates. The work is that of the plates that differ; one that cannot be put in does
    not stop the others.

    Args:
        name: `Cells`, ..., or `single_cells`.
        plates: all that are to be in it; those without such a file are not.
        number_of: the TableNumber of a plate whose files do not tell it, as those of earlier versions.

    Raises:
        SchemaError: a column has different types on two plates; nothing was changed.
        DestinationInUseError: another process writes to the dataset.
    """
    dest.sweep()
    table = open_table(dest, name)
    if behind(table, plates).none and not table.is_old:
        columns = {plate: member.content.columns for plate, member in table.members.items()}
        drift = unified(name, columns, is_empty=lambda plate, column: _is_empty(table, plates, plate, column, set()))
        return Update(table, drift, (), (), ())
    with dest.writing(file_by_file=True) as claim:
        flatten(dest, claim)
        return _updated(claim, open_table(dest, name, None if table.is_old else table), plates, number_of)


def _updated(
    claim: Claim, table: Table, plates: Mapping[str, PlateFolder], number_of: Callable[[str, Plan], int]
) -> Update:
    name = table.name
    differs = behind(table, plates)
    looked = {plate: _looked_at(plate, plates[plate], name, number_of) for plate in (*differs.missing, *differs.older)}
    left_out = tuple((plate, reason) for plate, reason in looked.items() if isinstance(reason, str))
    new = {plate: fitting for plate, fitting in looked.items() if isinstance(fitting, _Fitting)}
    columns = {plate: member.content.columns for plate, member in table.members.items() if plate not in differs.gone}
    columns |= {plate: fitting.columns for plate, fitting in new.items()}
    drift = unified(name, columns, is_empty=lambda plate, column: _is_empty(table, plates, plate, column, set(new)))
    try:
        table = fit_plates(table, retyped(table, drift.columns, {*new, *differs.gone}))
        for plate, own in new.items():
            claim.check()
            folder = plates[plate]
            state = _state(stored) if (stored := folder.stored(name)) else ""
            with folder.open(name) if folder.store else nullcontext(folder.result(name)) as file:
                table = put_plate(table, plate, file, own.content, drift.columns, own.fills, state)
        claim.check()
        for plate in differs.gone:
            table = drop_plate(table, plate)
    finally:
        if not differs.none:
            save_index(table)
    added, replaced = (tuple(plate for plate in some if plate in new) for some in (differs.missing, differs.older))
    return Update(table, drift, added, replaced, differs.gone, left_out)


def _state(stored: Stored) -> str:
    """What tells a lake's file from another of its name."""
    return f"{stored.stamp}-{stored.size}"


def _looked_at(plate: str, folder: PlateFolder, name: str, number_of: Callable[[str, Plan], int]) -> "_Fitting | str":
    """How a plate's file fits in, or why it cannot be told.

    Raises:
        DownloadError, SourceAccessError: the lake cannot be read, which is no fault of the plate.
    """
    import pyarrow as pa

    try:
        with folder.open(name) as file:
            content = content_of(file)
    except (DownloadError, SourceAccessError):
        raise
    except (OSError, pa.ArrowInvalid) as error:
        return f"{folder.address(name)}: not there or not whole ({error}); convert the plate again"
    if "table_number" in content.facts:
        facts = content.facts
        said = json.loads(facts.get("named_plate", "null")) if facts["names_plate"] == "yes" else plate
        return _fitting(content, name, int(facts["table_number"]), said, facts["names_plate"] == "yes")
    try:
        plan = load_plan(folder.plan)
        said = plan.plate if plan.names_plate else plate
        return _fitting(content, name, number_of(plate, plan), said, plan.names_plate)
    except (OSError, ValueError, SourceChangedError) as error:
        return f"its files, of an earlier version, tell no TableNumber, for which its source is needed once: {error}"


def _fitting(content: Content, name: str, number: int, plate: str | int | None, names_plate: bool) -> _Fitting:
    """How a file tells the TableNumber, and the plate where it does not, or no table of its source `names_plate`."""
    fills: dict[str, Fill] = {}
    columns = dict(content.columns)
    if ADDED_TABLE_NUMBER in columns:
        columns = {OWN_TABLE_NUMBER if key == ADDED_TABLE_NUMBER else key: kind for key, kind in content.columns}
        fills[OWN_TABLE_NUMBER] = Renamed(ADDED_TABLE_NUMBER)
    fills[ADDED_TABLE_NUMBER] = Constant(number)
    columns = {ADDED_TABLE_NUMBER: "int64", **columns}
    if plate is not None and not (names_plate and ADDED_PLATE in columns):
        fills[ADDED_PLATE] = Constant(plate)
        columns = {**columns, ADDED_PLATE: "int64" if isinstance(plate, int) else "string"}
    names = joined_order(columns) if name == SINGLE_CELLS else list(columns)
    return _Fitting(content, tuple((key, columns[key]) for key in names), fills)


def _is_empty(table: Table, plates: Mapping[str, PlateFolder], plate: str, column: str, new: set[str]) -> bool:
    import pyarrow.parquet as pq

    if plate not in new:
        return column_is_empty(table, plate, column)
    with plates[plate].open(table.name) as file:
        found = pq.read_table(file, columns=[column])
    return column in found.schema.names and found[column].null_count == found.num_rows
