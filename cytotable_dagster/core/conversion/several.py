"""Several plates on their way to one result: all of them looked through first, then converted one after the other."""

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cytotable_dagster.core.conversion.request import Request
from cytotable_dagster.core.conversion.skipping import Skipping
from cytotable_dagster.core.errors import OptionError, SourceChangedError
from cytotable_dagster.core.execution.runner import Runner
from cytotable_dagster.core.intake.cache import fetch, kept
from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.model.types import SINGLE_CELLS, FileFacts, Plate, Source
from cytotable_dagster.core.model.values import has_no_value
from cytotable_dagster.core.planning.make_plan import make_plan
from cytotable_dagster.core.planning.plan import Plan, copies_in, fingerprint, load_plan
from cytotable_dagster.core.planning.unify import Columns, Drift, columns_of, unified
from cytotable_dagster.core.reports.account import finished_report, planned_report
from cytotable_dagster.core.reports.matches import key_names
from cytotable_dagster.core.reports.records import ConversionReport
from cytotable_dagster.core.reports.results import PlatesReport
from cytotable_dagster.core.sources.identity import content_digest
from cytotable_dagster.core.sources.reading import reading
from cytotable_dagster.core.sources.state import check_unchanged, unless_changed
from cytotable_dagster.core.steps.batches import read_batches
from cytotable_dagster.core.steps.joined import joined_columns, joined_schema
from cytotable_dagster.core.steps.plate_work import Work
from cytotable_dagster.core.support.telling import tell


@dataclass(frozen=True)
class Ready:
    """A plate that was looked through. Its plan is in `plan`, for plans of thousands of columns would fill the memory;
    `columns` are those of its tables, and equal ones one object."""

    source: Source
    plan: Path
    table_number: int | None
    columns: Mapping[str, Columns]

    @property
    def name(self) -> str:
        return self.source.plate


@dataclass(frozen=True)
class Done:
    """A plate that is converted: its files by table, in a folder of its own."""

    plate: Ready
    folder: Path
    files: Mapping[str, FileFacts]
    facts: Mapping[str, str]
    report: ConversionReport
    readers: tuple[tuple[str, str], ...]

    def remove(self) -> None:
        """Remove its files, when they are where they belong."""
        shutil.rmtree(self.folder, ignore_errors=True)


def plan_all(
    plates: Sequence[Plate],
    request: Request,
    scratch: Path,
    skipping: Skipping,
    is_known: Callable[[str, str], bool] | None = None,
) -> list[Ready]:
    """Look through plates, each with what tells it from the others: its TableNumber and name.

    Args:
        skipping: what becomes of plates that cannot be converted.
        is_known: given a plate's name and the fingerprint of its conversion, whether it need not be converted.

    Raises:
        OptionError: two plates have images of one key, and no TableNumber is to be added.
    """
    found = []
    known = 0
    seen: dict[Columns, Columns] = {}
    for done, plate in enumerate(plates):
        with skipping.attempt(plate.name, several=len(plates) > 1), kept(plate.uri, request.cache):
            source = fetch(plate, request.cache, request.experiment)
            folder = scratch / "plans" / str(done)
            with reading(source, copies_in(folder)) as readable:
                preset = request.preset_of(readable)
                numbered = request.add_tablenumber is not False
                options = replace(request.options, numbered=numbered, plate_name=plate.name)
                if is_known is not None and is_known(plate.name, fingerprint(source, preset, options)):
                    known += 1
                else:
                    plan = make_plan(readable, preset, options, folder)
                    columns = {name: seen.setdefault(own, own) for name, own in _columns(plan, request).items()}
                    found.append(Ready(source, plan.folder, plan.number, columns))
        tell("plates looked through", done + 1, len(plates))
    skipping.check(len(found) + known)
    if request.add_tablenumber is False:
        _check_keys(found)
    return found


def converted(
    plates: Sequence[Ready], request: Request, run: Runner, scratch: Path, skipping: Skipping
) -> Iterator[Done]:
    """Convert plates, each when it is asked for; those that prove to be damaged only now are left out, if they may be.

    Raises:
        StrictError: what a plate's report tells is not to be passed over.
    """
    whole = 0
    for number, ready in enumerate(plates, start=1):
        plate = Plate(ready.name, ready.source.uri)
        done = None
        with skipping.attempt(ready.name, several=len(plates) > 1), kept(plate.uri, request.cache):
            source = fetch(plate, request.cache, request.experiment)
            # What is fetched anew from a store is another file of the same content.
            touched = source.etag is None and source.state != ready.source.state
            if touched or source.fingerprint != ready.source.fingerprint:
                raise SourceChangedError(f"{plate.uri}: has changed since it was looked through; convert again")
            with unless_changed(replace(source, settled=load_plan(ready.plan).source.settled)):
                made = _converted(ready, request, run, scratch)
                check_unchanged(source)
                done = made
        tell("plates converted", number, len(plates))
        if done is None:
            shutil.rmtree(_folder_of(ready, scratch), ignore_errors=True)
        else:
            whole += 1
            yield done
    if plates:
        skipping.check(whole)


def _folder_of(ready: Ready, scratch: Path) -> Path:
    """Where a plate's files are made."""
    return scratch / "plates" / ready.plan.name


def _converted(ready: Ready, request: Request, run: Runner, scratch: Path) -> Done:
    plan = load_plan(ready.plan)
    report = planned_report(plan)
    if request.strict:
        report.check()
    digest = run.submit(content_digest, ready.source.path) if ready.source.digest is None else None
    folder = _folder_of(ready, scratch)
    folder.mkdir(parents=True)
    # What is called off of this plate is not of the next.
    run = replace(run, stop=folder.with_suffix(".stop"))
    work = Work(plan, run, folder, True, digest)
    files = work.results(request.joined, request.both, request.joins)
    facts = {**plan.facts(), **({"source_digest": digest.result()} if digest else {})}
    report = finished_report(plan, report, files, by_query=request.joins is not None)
    shutil.rmtree(copies_in(plan.folder), ignore_errors=True)
    if request.strict:
        report.check()
    readers = tuple((f"{ready.name}: {table}", reason) for table, reason in plan.readers)
    return Done(ready, folder, files, facts, report, readers)


def drifts_of(
    plates: Sequence[Ready],
    request: Request,
    others: Mapping[str, Mapping[str, Columns]] | None = None,
    is_empty: Callable[[str, str, str], bool] | None = None,
) -> tuple[Drift, ...]:
    """For each table the columns of all plates.

    Args:
        others: columns of plates that are there already, by table and plate.
        is_empty: whether one of those, given table, plate and column, has no value in the column.

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
        if plate in by_name:
            return request.joins is None and _has_no_value(load_plan(by_name[plate].plan), table, column)
        return is_empty is not None and is_empty(table, plate, column)

    return tuple(
        unified(table, there, request.schema, lambda plate, column, table=table: nothing_in(table, plate, column))  # type: ignore[misc]
        for table, there in found.items()
        if there
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


def _columns(plan: Plan, request: Request) -> dict[str, Columns]:
    """The columns of each table; of one that a query makes they are known when it is made."""
    if request.joins is not None:
        return {}
    joined = {SINGLE_CELLS: columns_of(joined_schema(plan))} if request.joined else {}
    if joined and not request.both:
        return joined
    return {**{name: columns_of(plan.schema(name)) for name in plan.results}, **joined}


def _check_keys(plates: Sequence[Ready]) -> None:
    """Make sure that no image's key is another plate's too."""
    seen: dict[tuple[Any, ...], str] = {}
    for plan in (load_plan(plate.plan) for plate in plates):
        compartment = IMAGE if IMAGE in plan.compartments else plan.compartments[0]
        names = key_names(plan, compartment)[: 1 + (plan.preset.table_number is not None)]
        ((table, _),) = read_batches(plan, compartment, [plan.ordered(compartment)], names)
        for key in set(zip(*(table[name].to_pylist() for name in names), strict=True)):
            other = seen.setdefault(key, plan.source.plate)
            if other != plan.source.plate:
                where = ", ".join(f"{name} {value}" for name, value in zip(names, key, strict=True))
                raise OptionError(
                    f"plates {other} and {plan.source.plate} both have an image with {where}, which "
                    "add_tablenumber=False would mix up; leave it out, and Metadata_TableNumber tells them apart"
                )


def _has_no_value(plan: Plan, table: str, column: str) -> bool:
    if table == SINGLE_CELLS:
        origin = next(joined for joined in joined_columns(plan) if joined.name == column)
        table, column = origin.compartment, origin.column
    rows = plan.ordered(table)
    ((found, _),) = read_batches(plan, table, [rows], [column])
    return has_no_value(found[column])
