"""A dataset's table kept in step with the plates of a lake: what is new there is put in, what is gone is taken out."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from cytotable_dagster.core.datasets.members import Table, save_index
from cytotable_dagster.core.datasets.tables import (
    Arrival,
    column_is_empty,
    drop_plate,
    fit_plates,
    flatten,
    open_table,
    put_plate,
    retyped,
    rounding,
)
from cytotable_dagster.core.errors import DamagedSourceError
from cytotable_dagster.core.lake.arrivals import arrival_of, state_of
from cytotable_dagster.core.lake.folder import PlateFolder, stored_results
from cytotable_dagster.core.planning.unify import Drift, unified
from cytotable_dagster.core.storage.destination import Claim, Destination
from cytotable_dagster.core.support.telling import tell


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
    states = {plate: state_of(stored) for plate, stored in stored_results(plates, table.name).items()}
    return Behind(
        missing=tuple(plate for plate in states if plate not in table.members),
        older=tuple(
            plate for plate, state in states.items() if plate in table.members and table.members[plate].origin != state
        ),
        gone=tuple(plate for plate in table.members if plate not in states),
    )


def update_table(dest: Destination, name: str, plates: Mapping[str, PlateFolder]) -> Update:
    """Bring a table up to the lake's plates. The work is that of the plates that differ; one that cannot be put in does
    not stop the others.

    Args:
        name: `Cells`, ..., or `single_cells`.
        plates: all that are to be in it; those without such a file are not.

    Raises:
        SchemaError: a column has different types on two plates; nothing was changed.
        DestinationInUseError: another process writes to the dataset.
    """
    dest.sweep()
    table = open_table(dest, name)
    if behind(table, plates).none and not table.is_old:
        return Update(table, _drift(table, plates, {}, ()), (), (), ())
    with dest.writing(file_by_file=True) as claim:
        flatten(dest, claim)
        return _updated(claim, open_table(dest, name, None if table.is_old else table), plates)


def _updated(claim: Claim, table: Table, plates: Mapping[str, PlateFolder]) -> Update:
    """The table with what differs of it made as the lake has it."""
    differs = behind(table, plates)
    new, left_out = _looked_at(table.name, {plate: plates[plate] for plate in (*differs.missing, *differs.older)})
    drift = _drift(table, plates, new, differs.gone)
    try:
        wanted = retyped(table, drift.columns, {*new, *differs.gone})
        rounded = rounding(table, {**wanted, **dict.fromkeys(new, drift.columns)}, new)
        drift = replace(drift, rounded=rounded)
        table = fit_plates(table, wanted)
        for number, (plate, arrival) in enumerate(new.items(), start=1):
            claim.check()
            table = put_plate(table, plate, arrival, drift.columns)
            tell(f"{table.name}: plates put into the dataset", number, len(new))
        claim.check()
        for plate in differs.gone:
            table = drop_plate(table, plate)
    finally:
        if not differs.none:
            save_index(table)
    added, replaced = (tuple(plate for plate in some if plate in new) for some in (differs.missing, differs.older))
    return Update(table, drift, added, replaced, differs.gone, left_out)


def _looked_at(name: str, plates: Mapping[str, PlateFolder]) -> tuple[dict[str, Arrival], tuple[tuple[str, str], ...]]:
    """The plates' files on their way into a table, by plate; and plates whose files cannot be put in, with the reason.

    Raises:
        DownloadError, SourceAccessError: the lake cannot be read, which is no fault of a plate.
    """
    found, left_out = {}, []
    for plate, folder in plates.items():
        try:
            found[plate] = arrival_of(plate, folder, name)
        except DamagedSourceError as error:
            left_out.append((plate, str(error)))
    return found, tuple(left_out)


def _drift(table: Table, plates: Mapping[str, PlateFolder], new: Mapping[str, Arrival], gone: Collection[str]) -> Drift:
    """How the plates' files differ, with those that are new and without those that are gone."""
    columns = {plate: member.content.columns for plate, member in table.members.items() if plate not in gone}
    columns |= {plate: arrival.columns for plate, arrival in new.items()}

    def is_empty(plate: str, column: str) -> bool:
        import pyarrow.parquet as pq

        if plate not in new:
            return column_is_empty(table, plate, column)
        with plates[plate].open(table.name) as file:
            found = pq.read_table(file, columns=[column])
        return column in found.schema.names and found[column].null_count == found.num_rows

    return unified(table.name, columns, is_empty=is_empty)
