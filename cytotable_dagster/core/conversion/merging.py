"""Several plates converted to one file for each table, with the columns of all of them."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from cytotable_dagster.core.conversion.growing import Growing, OneFile, Parts
from cytotable_dagster.core.conversion.looking import finds_no_room, in_turn, plan_all
from cytotable_dagster.core.conversion.ready import Ready
from cytotable_dagster.core.conversion.request import Request
from cytotable_dagster.core.conversion.several import Done, check_rounded, converted, drifts_of
from cytotable_dagster.core.conversion.skipping import STOP, Skipping
from cytotable_dagster.core.conversion.tally import Tally
from cytotable_dagster.core.datasets.files import content_of
from cytotable_dagster.core.execution.runner import Runner
from cytotable_dagster.core.model.types import FileFacts, Plate
from cytotable_dagster.core.parquet.concat import Concatenation
from cytotable_dagster.core.parquet.writing import footer
from cytotable_dagster.core.planning.unify import Columns, Drift
from cytotable_dagster.core.reports.results import ConversionResult
from cytotable_dagster.core.storage.destination import Destination, Results
from cytotable_dagster.core.storage.local_destination import LocalDestination
from cytotable_dagster.core.version import VERSION

# What the footer of a file of several plates tells of each.
_OF_A_PLATE = ("plate", "source_uri", "source_etag", "source_digest", "preset", "fingerprint")
_PARTS = "parts"


def convert_to_files(
    plates: Sequence[Plate],
    names: Callable[[str], str],
    dest: Destination,
    results: Results,
    request: Request,
    run: Runner,
    scratch: Path,
    skipping: Skipping,
) -> ConversionResult:
    """Convert plates to one file for each table, with the columns of all of them.

    All are looked through first, so that chunks are encoded into the files that are the results; where the cache is too
    small for their copies, each is fetched, looked through and converted before the next.

    Args:
        names: the name of a table's file.
        results: of `dest`, where they appear together when all plates are done.
    """

    def convert(in_turns: bool) -> ConversionResult:
        files = _Files(dest, results, names, request, scratch, skipping)
        return _in_files(
            _converted(plates, files, request, run, scratch, skipping, in_turns), files, names, dest, skipping
        )

    if request.joins is not None or not finds_no_room(plates, request.cache):
        return convert(False)
    reasons = dict(skipping.reasons)
    try:
        return convert(True)
    except _MustBeKnownError:
        shutil.rmtree(scratch / _PARTS)
        skipping.reasons = reasons
        return convert(False)


class _MustBeKnownError(Exception):
    """What columns are to be depends on a plate that has made way for others."""


def _in_files(
    plates: Iterator[Done], files: "_Files", names: Callable[[str], str], dest: Destination, skipping: Skipping
) -> ConversionResult:
    """The plates, as they are converted, in files that are finished."""
    tally = Tally()
    facts = []
    for done in plates:
        files.take(done)
        done.remove()
        tally.add(done)
        facts.append({name: done.facts[name] for name in _OF_A_PLATE if name in done.facts})
    outputs = {
        drift.table: FileFacts(
            path=dest.path(names(drift.table)),
            rows=tally.rows[drift.table],
            columns=len(drift.columns),
            size=files.finish(drift, _footer(drift.table, tally.rows[drift.table], facts)),
            seconds=tally.seconds.get(drift.table, 0.0),
        )
        for drift in files.settled()
    }
    files.check_rounded()
    return tally.result(outputs, files.drifts, files.ready, skipping)


def _converted(
    plates: Sequence[Plate],
    files: "_Files",
    request: Request,
    run: Runner,
    scratch: Path,
    skipping: Skipping,
    in_turns: bool,
) -> Iterator[Done]:
    """The plates, one after the other, when it is known what their files are to be; or looked through `in_turns`."""
    if request.joins is not None:
        # What columns a query gives is known when it was asked of every plate.
        ready = plan_all(plates, request, scratch, skipping)
        ended = list(converted(ready, _Apart(), len(ready), request, run, scratch, skipping))
        files.expect([_with_columns(done) for done in ended])
        yield from ended
        return
    if in_turns:
        with closing(in_turn(plates, request, scratch, skipping)) as turns:
            yield from converted(turns, files, len(plates), request, run, scratch, skipping)
        return
    files.expect(plan_all(plates, request, scratch, skipping))
    yield from converted(files.ready, files, len(files.ready), request, run, scratch, skipping)


class _Apart:
    """Plates whose tables are files of their own, with columns of their own."""

    def begin(self, ready: Ready) -> tuple[Mapping[str, Columns], None]:
        return {}, None

    def undo(self) -> None:
        pass


class _Files:
    """The files of a conversion, in which plates' tables grow one after the other.

    `ready` are the plates that were looked through, `drifts` what their columns are to be.
    """

    def __init__(
        self,
        dest: Destination,
        results: Results,
        names: Callable[[str], str],
        request: Request,
        scratch: Path,
        skipping: Skipping,
    ) -> None:
        self.ready: list[Ready] = []
        self.drifts: tuple[Drift, ...] = ()
        self._results, self._names, self._request, self._scratch = results, names, request, scratch
        # What was sent to a store cannot be taken back, where a plate proves to be damaged and is skipped.
        can_undo = skipping.on_error in (None, STOP) or isinstance(dest, LocalDestination)
        self._apart = request.joins is not None or not can_undo
        self._all_known = False
        self._begun: list[Growing] = []
        self._shapes: set[tuple[str, Columns]] = set()
        self._tables: dict[str, Growing] = {}

    def expect(self, plates: Sequence[Ready]) -> None:
        """Take all plates that there are going to be."""
        self._all_known = True
        self.ready = list(plates)
        self.drifts = drifts_of(self.ready, self._request)
        for drift in self.drifts:
            name = self._names(drift.table)
            self._tables[drift.table] = OneFile(drift.columns, self._results.create(name))

    def begin(self, ready: Ready) -> tuple[Mapping[str, Columns], Callable[[str], Concatenation] | None]:
        if not self._all_known:
            self._apart = False
            self.ready.append(ready)
            if not self._shapes.issuperset(ready.columns.items()):
                self._shapes.update(ready.columns.items())
                self._unify()
            for drift in self.drifts:
                if drift.table not in self._tables:
                    self._tables[drift.table] = Parts(self._scratch / _PARTS / drift.table)
        wanted = {drift.table: drift.columns for drift in self.drifts}
        self._begun = [] if self._apart else [self._tables[table] for table in ready.columns]
        for file, columns in zip(self._begun, (wanted[table] for table in ready.columns), strict=False):
            file.begin(ready.name, columns)
        return wanted, None if self._apart else self._file

    def undo(self) -> None:
        for file in self._begun:
            file.undo()

    def take(self, done: Done) -> None:
        """Take the files of a plate that did not grow here."""
        for table, made in done.files.items() if self._apart else ():
            self._tables[table].append(done.plate.name, made.path)

    def settled(self) -> tuple[Drift, ...]:
        """What the files' columns are to be, when all plates are there."""
        if not self._all_known:
            self._unify()
        return self.drifts

    def _unify(self) -> None:
        """See what columns the plates that are known by now have together; only the last of them can be read."""

        def ask(table: str, plate: str, column: str) -> bool:
            raise _MustBeKnownError

        gone = {plate.name for plate in self.ready[:-1]}
        self.drifts = drifts_of(self.ready, self._request, is_empty=ask, gone=gone)

    def finish(self, drift: Drift, entries: Mapping[str, str]) -> int:
        """Finish a table's file; its bytes."""
        return self._tables[drift.table].finish(drift.columns, entries, self._results, self._names(drift.table))

    def check_rounded(self) -> None:
        """Tell what was rounded, when all files are finished.

        Raises:
            StrictError: something was, and that is not to be passed over.
        """
        self.drifts = tuple(replace(drift, rounded=tuple(self._tables[drift.table].rounded)) for drift in self.drifts)
        check_rounded(self.drifts, self._request)

    def _file(self, table: str) -> Concatenation:
        return self._tables[table].file


def _footer(table: str, rows: int, plates: Sequence[Mapping[str, str]]) -> dict[str, str]:
    entries = {"version": VERSION, "compartment": table, "rows": str(rows)}
    return footer({**entries, "plates": json.dumps(plates, separators=(",", ":"))})


def _with_columns(done: Done) -> Ready:
    """A plate that is converted, with the columns of its files."""
    return replace(done.plate, columns={table: content_of(made.path).columns for table, made in done.files.items()})
