"""Several plates converted into a dataset, each put there when it is done."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

from cytotable_dagster.core.conversion.looking import finds_no_room, in_turn, plan_all
from cytotable_dagster.core.conversion.origin import check_origin
from cytotable_dagster.core.conversion.ready import Ready
from cytotable_dagster.core.conversion.request import Request
from cytotable_dagster.core.conversion.several import Done, check_rounded, converted, drifts_of
from cytotable_dagster.core.conversion.skipping import Skipping
from cytotable_dagster.core.conversion.tally import Tally
from cytotable_dagster.core.datasets.files import Content, table_names
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
from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.execution.runner import Runner
from cytotable_dagster.core.model.plate_names import safe_name
from cytotable_dagster.core.model.types import SINGLE_CELLS, Coercion, FileFacts, Plate, Source
from cytotable_dagster.core.planning.unify import Columns, Drift
from cytotable_dagster.core.reports.results import ConversionResult
from cytotable_dagster.core.storage.destination import Claim, Destination
from cytotable_dagster.core.storage.local_destination import LocalDestination

# Seconds that a plate that is converted waits to be put into a dataset, while others are.
_WAIT = 3600.0


def convert_to_dataset(
    plates: Sequence[Plate],
    dest: Destination,
    request: Request,
    run: Runner,
    scratch: Path,
    skipping: Skipping,
    *,
    overwrite: bool,
) -> ConversionResult:
    """Convert plates into a dataset, each put there when it is done.

    A plate that is there already, made of the same source in the same way, is left alone; one that was made of a source
    elsewhere, which may be another plate, is replaced only by `overwrite`. Files of other plates are touched only where
    the type of a column has to become wider. All plates are looked through before the first is put there; where the
    cache is too small for their copies, each is fetched, looked through and put there before the next, and those that
    lack columns of later ones are given them at the end.
    """
    if request.joins is not None:
        raise OptionError("joins= makes one file of several plates, no dataset; leave concat=False out")
    tally = Tally()
    plates = _nameable(plates, skipping)
    dest.sweep()
    dataset = _Growing(dest, request, overwrite)
    in_turns = finds_no_room(plates, request.cache)
    if not in_turns:
        dataset.expect(plan_all(plates, request, scratch, skipping, dataset.holds))
    try:
        with ExitStack() as stack:
            turns: Iterable[Ready] = dataset.ready
            count = len(plates) if in_turns else len(dataset.ready)
            if in_turns:
                turns = stack.enter_context(closing(in_turn(plates, request, scratch, skipping, dataset.holds)))
            for done in converted(turns, dataset, count, request, run, scratch, skipping):
                dataset.put(done)
                done.remove()
                tally.add(done)
        if in_turns:
            dataset.align()
    finally:
        dataset.save()
    return tally.result(dataset.outputs(tally.seconds), dataset.drifts, dataset.ready, skipping, dataset.notes)


def _nameable(plates: Sequence[Plate], skipping: Skipping) -> list[Plate]:
    """The plates whose names a file can have, told before others are put anywhere."""
    for plate in plates:
        with skipping.attempt(plate.name):
            safe_name(plate.name)
    return [plate for plate in plates if plate.name not in skipping.reasons]


class _Growing:
    """A dataset that plates are put into, to which others write as well: looked at anew where they did.

    `ready` are the plates on their way, as far as they were looked through; `drifts` what columns are to be.
    """

    def __init__(self, dest: Destination, request: Request, overwrite: bool) -> None:
        self.ready: list[Ready] = []
        self._same: list[str] = []
        self._replaced: list[str] = []
        self._removed: list[str] = []
        self.drifts: tuple[Drift, ...] = ()
        self._dest = dest
        self._request = request
        self._overwrite = overwrite
        self._tables = {name: open_table(dest, name) for name in table_names(dest)}
        self._columns: dict[str, Columns] = {}
        self._rounded: defaultdict[str, list[tuple[str, Coercion]]] = defaultdict(list)
        self._coming: Sequence[Ready] = ()
        self._all_known = False

    def holds(self, source: Source, fingerprint: str) -> bool:
        """Whether all tables of a plate are there as they would be made; some are where an earlier run was killed.

        Raises:
            PlateExistsError: what is there was made of a source elsewhere.
        """
        plate = source.plate
        found = [table.members[plate] for table in self._tables.values() if plate in table.members]
        there = [member for member in found if member.fingerprint == fingerprint]
        if not there:
            if not self._overwrite:
                check_origin(source, found, self._dest.address())
            return False
        facts = [member.content.facts for member in there]
        joined = any(own.get("compartment") == SINGLE_CELLS for own in facts)
        others = len(there) - joined == len(facts[0].get("compartments", "").split(","))
        whole = (joined and not self._request.both) or (others and joined == self._request.both)
        if whole:
            self._same.append(plate)
        return whole

    def expect(self, plates: Sequence[Ready]) -> None:
        """Take all plates that there are going to be."""
        self._all_known = True
        self.ready = list(plates)
        if self.ready:
            self._prepare(self.ready)

    def begin(self, ready: Ready) -> tuple[Mapping[str, Columns], None]:
        if not self._all_known:
            self.ready.append(ready)
            self._prepare([ready])
        return self._columns, None

    def undo(self) -> None:
        """Nothing of a plate is there before all of it is."""

    def _prepare(self, coming: Sequence[Ready]) -> None:
        """Give files of plates that are there the types that plates on their way need.

        Raises:
            SchemaError: a column has different types on two plates.
        """
        self._coming, self._columns = coming, {}
        with self._dest.writing(wait=_WAIT, file_by_file=True) as claim:
            self._fit(claim, {} if flatten(self._dest, claim) else self._tables)

    def align(self) -> None:
        """Give each plate of this conversion the columns of all of them, as if they had been known before."""
        if not self.ready:
            return
        self._coming, self._columns = self.ready, {}
        there = {plate.name for plate in self.ready}
        with self._dest.writing(wait=_WAIT, file_by_file=True) as claim:
            self._fit(claim, self._tables, there)
            for name, table in self._tables.items():
                own = there & table.members.keys()
                wanted = dict.fromkeys(sorted(own), self._columns[name])
                self._note({name: rounding(table, wanted)})
                self._tables[name] = fit_plates(table, wanted)

    def put(self, done: Done) -> None:
        """Put a plate's new files there; where they are the whole plate, those go that it has no more."""
        plate, whole = done.plate.name, self._request.options.targets is None
        gone = []
        if any(plate in table.members for table in self._tables.values()):
            self._replaced.append(plate)
        # Joined tables and others may have been added apart.
        kinds = {name == SINGLE_CELLS for name in done.files}
        with self._dest.writing(wait=_WAIT, file_by_file=True) as claim:
            self._fit(claim, self._tables)
            for name, table in self._tables.items():
                if name in done.files:
                    arrival, columns = _arrival(done, name), self._columns[name]
                    self._note({name: rounding(table, {plate: columns}, {plate: arrival})})
                    self._tables[name] = put_plate(table, plate, arrival, columns)
                elif whole and plate in table.members and (name == SINGLE_CELLS) in kinds:
                    self._tables[name] = drop_plate(table, plate)
                    gone.append(name)
        if gone:
            self._removed.append(f"plate {plate} has no {', '.join(gone)} as it was made now: removed from there")

    @property
    def notes(self) -> tuple[str, ...]:
        """What became of plates that were there."""
        told = ((self._same, "there already, made of the same source in the same way"), (self._replaced, "replaced"))
        lines = []
        for plates, what in told:
            if plates[1:]:
                lines.append(f"{len(plates):,} plates are {what}, such as {plates[0]}")
            elif plates:
                lines.append(f"plate {plates[0]} is {what}")
        return (*lines, *self._removed)

    def save(self) -> None:
        """Remember what is in the tables' files."""
        for table in self._tables.values() if self.ready else ():
            save_index(table)

    def outputs(self, seconds: Mapping[str, float]) -> dict[str, FileFacts]:
        """The tables as results; `seconds` of work by table."""
        return {
            name: FileFacts(
                path=self._dest.path(name),
                rows=table.rows,
                columns=len(self._columns.get(name) or table.widest),
                size=table.size,
                seconds=seconds.get(name, 0.0),
            )
            for name, table in self._tables.items()
        }

    def _fit(self, claim: Claim, before: Mapping[str, Table], gone: Collection[str] = ()) -> None:
        """Look at the tables as they are now, and give their files the types that the new plates need."""
        names = before if self._columns else {*before, *table_names(self._dest)}
        tables = {name: open_table(self._dest, name, before.get(name)) for name in sorted(names)}
        claim.check()
        self._tables = tables
        if self._columns and tables == before:
            return
        others = {
            name: {plate: member.content.columns for plate, member in table.members.items() if plate not in gone}
            for name, table in tables.items()
            if not table.members.keys() <= set(gone)
        }

        def is_empty(name: str, plate: str, column: str) -> bool:
            # What a plate's file does not have, under this name, had no value.
            member = tables[name].members.get(plate)
            return (
                member is None
                or column not in dict(member.content.columns)
                or column_is_empty(tables[name], plate, column)
            )

        self.drifts = drifts_of(self._coming, self._request, others, is_empty, gone)
        self._columns = {drift.table: drift.columns for drift in self.drifts}
        new, fitting = {plate.name for plate in self._coming}, {}
        for name, columns in self._columns.items():
            table = tables.get(name) or open_table(self._dest, name)
            fitting[name] = retyped(tables.setdefault(name, table), columns, new)
        self._note({name: rounding(tables[name], wanted) for name, wanted in fitting.items()})
        for name, wanted in fitting.items():
            tables[name] = fit_plates(tables[name], wanted)

    def _note(self, rounded: Mapping[str, Sequence[tuple[str, Coercion]]]) -> None:
        """Take note of what is about to be rounded of files.

        Raises:
            StrictError: something is, and that is not to be passed over.
        """
        for table, found in rounded.items():
            self._rounded[table] += found
        self.drifts = tuple(replace(drift, rounded=tuple(self._rounded[drift.table])) for drift in self.drifts)
        check_rounded(self.drifts, self._request)


def _arrival(done: Done, name: str) -> Arrival:
    """A plate's new file on its way into a table."""
    made = done.files[name]
    facts = {**done.facts, "compartment": name, "rows": str(made.rows)}
    content = Content(made.rows, done.columns[name], facts)
    return Arrival(LocalDestination(made.path.parent), made.path.name, content)
