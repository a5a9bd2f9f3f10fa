"""Several plates on their way to one result, converted one after the other."""

import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from cytotable_dagster.core.conversion.ready import Ready, at_hand
from cytotable_dagster.core.conversion.request import Request
from cytotable_dagster.core.conversion.skipping import Skipping
from cytotable_dagster.core.errors import StrictError
from cytotable_dagster.core.execution.runner import Runner
from cytotable_dagster.core.model.types import SINGLE_CELLS, FileFacts
from cytotable_dagster.core.model.values import has_no_value
from cytotable_dagster.core.parquet.concat import Concatenation
from cytotable_dagster.core.planning.plan import Plan, copies_in, save_plan
from cytotable_dagster.core.planning.unify import Columns, Drift, unified
from cytotable_dagster.core.reports.account import finished_report, planned_report
from cytotable_dagster.core.reports.records import ConversionReport
from cytotable_dagster.core.reports.results import PlatesReport
from cytotable_dagster.core.sources.identity import content_digest
from cytotable_dagster.core.sources.state import check_unchanged, unless_changed
from cytotable_dagster.core.steps.batches import read_batches
from cytotable_dagster.core.steps.joined import joined_columns
from cytotable_dagster.core.steps.plate_work import Work
from cytotable_dagster.core.support.telling import tell


@dataclass(frozen=True)
class Done:
    """A plate that is converted: its files by table, in a folder of its own where they did not grow in others; and the
    columns that these have."""

    plate: Ready
    folder: Path
    files: Mapping[str, FileFacts]
    columns: Mapping[str, Columns]
    facts: Mapping[str, str]
    report: ConversionReport
    readers: tuple[tuple[str, str], ...]

    def remove(self) -> None:
        """Remove its files, when they are where they belong."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Result(Protocol):
    """What several plates are converted to."""

    def begin(self, ready: Ready) -> tuple[Mapping[str, Columns], Callable[[str], Concatenation] | None]:
        """A plate is about to be converted: the columns that its tables are to have (none are its own), and what gives
        the file that a table grows in; None where each is a file of its own."""

    def undo(self) -> None:
        """What grew of the last plate that was begun is to go."""


def converted(
    plates: Iterable[Ready],
    result: Result,
    number: int,
    request: Request,
    run: Runner,
    scratch: Path,
    skipping: Skipping,
) -> Iterator[Done]:
    """Convert plates, each when it is asked for; those that prove to be damaged only now are left out, if they may be.

    Args:
        number: how many plates there are at the most.

    Raises:
        StrictError: what a plate's report tells is not to be passed over.
    """
    whole = begun = 0
    for begun, ready in enumerate(plates, start=1):
        done = None
        wanted, into = result.begin(ready)
        with (
            skipping.attempt(ready.name, several=number > 1),
            at_hand(ready, request) as source,
            unless_changed(replace(source, settled=ready.loaded().source.settled)),
        ):
            made = _converted(ready, wanted, into, request, run, scratch)
            check_unchanged(source)
            done = made
        tell("plates converted", begun, number)
        if done is None:
            result.undo()
            shutil.rmtree(_folder_of(ready, scratch), ignore_errors=True)
        else:
            whole += 1
            yield done
    if begun:
        skipping.check(whole)


def _folder_of(ready: Ready, scratch: Path) -> Path:
    """Where a plate's files are made."""
    return scratch / "plates" / ready.plan.name


def _converted(
    ready: Ready,
    wanted: Mapping[str, Columns],
    into: Callable[[str], Concatenation] | None,
    request: Request,
    run: Runner,
    scratch: Path,
) -> Done:
    plan = ready.loaded()
    columns = {name: wanted.get(name, own) for name, own in ready.columns.items()}
    if columns != ready.columns:
        plan = plan.fitting(columns, ready.columns)
        save_plan(plan)
    report = planned_report(plan)
    if request.strict:
        report.check()
    digest = run.submit(content_digest, ready.source.path) if ready.source.digest is None else None
    folder = _folder_of(ready, scratch)
    folder.mkdir(parents=True)
    # What is called off of this plate is not of the next.
    run = replace(run, stop=folder.with_suffix(".stop"))
    work = Work(plan, run, folder, True, digest, into=into)
    files = work.results(request.joined, request.both, request.joins)
    facts = {**plan.facts(), **({"source_digest": digest.result()} if digest else {})}
    report = finished_report(plan, report, files, by_query=request.joins is not None)
    shutil.rmtree(copies_in(plan.folder), ignore_errors=True)
    if request.strict:
        report.check()
    readers = tuple((f"{ready.name}: {table}", reason) for table, reason in plan.readers)
    return Done(ready, folder, files, columns, facts, report, readers)


def drifts_of(
    plates: Sequence[Ready],
    request: Request,
    others: Mapping[str, Mapping[str, Columns]] | None = None,
    is_empty: Callable[[str, str, str], bool] | None = None,
    gone: Collection[str] = (),
) -> tuple[Drift, ...]:
    """For each table the columns of all plates.

    Args:
        others: columns of plates that are there already, by table and plate.
        is_empty: whether one of those, given table, plate and column, has no value in the column; also asked of plates
            that are `gone`.

    Raises:
        SchemaError: a column has different types on two plates.
    """
    by_name = {plate.name: plate for plate in plates}
    found: dict[str, dict[str, Columns]] = defaultdict(dict)
    for table, there in (others or {}).items():
        found[table].update({plate: columns for plate, columns in there.items() if plate not in by_name})
    for name, plate in by_name.items():
        for table, columns in plate.columns.items():
            found[table][name] = columns

    def nothing_in(table: str, plate: str, column: str) -> bool:
        if plate in by_name and plate not in gone:
            if request.joins is not None:
                return False
            with at_hand(by_name[plate], request):
                return _has_no_value(by_name[plate].loaded(), table, column)
        return is_empty is not None and is_empty(table, plate, column)

    return tuple(
        unified(table, there, request.schema, lambda plate, column, table=table: nothing_in(table, plate, column))  # type: ignore[misc]
        for table, there in found.items()
        if there
    )


def check_rounded(drifts: Sequence[Drift], request: Request) -> None:
    """Refuse what `strict=True` refuses of plates whose columns become others'.

    Raises:
        StrictError: whole numbers are rounded.
    """
    problems = [line for drift in drifts for line in drift.problems]
    if problems and request.strict:
        more = f" (and {len(problems) - 1} more: see the error's report)" if problems[1:] else ""
        raise StrictError(
            f"{problems[0]}{more}; mend the source, or convert without strict=True", PlatesReport((), tuple(drifts), ())
        )


def report_of(
    reports: Sequence[ConversionReport], drifts: Sequence[Drift], plates: Sequence[Ready], skipping: Skipping
) -> PlatesReport:
    """What is to be told of several plates; `plates` are those that were looked through."""
    plates = [plate for plate in plates if plate.name not in skipping.reasons]
    drifts = [replace(d, plates=tuple(p for p in d.plates if p.plate not in skipping.reasons)) for d in drifts]
    same: dict[int, str] = {}
    notes = []
    for plate in plates:
        number = plate.table_number
        if number is not None and same.setdefault(number, plate.name) != plate.name:
            notes.append(
                f"plates {same[number]} and {plate.name} have the same content, and so the same TableNumber "
                f"{number}: only Metadata_Plate or the file tells their rows apart"
            )
    return PlatesReport(tuple(reports), tuple(drifts), tuple(notes), tuple(skipping.reasons.items()))


def _has_no_value(plan: Plan, table: str, column: str) -> bool:
    if table == SINGLE_CELLS:
        origin = next(joined for joined in joined_columns(plan) if joined.name == column)
        table, column = origin.compartment, origin.column
    rows = plan.ordered(table)
    ((found, _),) = read_batches(plan, table, [rows], [column])
    return has_no_value(found[column])
