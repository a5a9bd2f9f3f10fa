"""One plate on its way to its results."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.about.columns import FILE, column_map, put_columns
from cytotable_dagster.core.conversion.place import check_free, output_name
from cytotable_dagster.core.conversion.request import Request
from cytotable_dagster.core.execution.runner import runner
from cytotable_dagster.core.intake.cache import fetched
from cytotable_dagster.core.model.types import SINGLE_CELLS, Plate
from cytotable_dagster.core.planning.make_plan import make_plan
from cytotable_dagster.core.planning.plan import Plan, copies_in, save_plan
from cytotable_dagster.core.reports.account import finished_report, planned_report
from cytotable_dagster.core.reports.results import ConversionResult
from cytotable_dagster.core.sources.identity import content_digest
from cytotable_dagster.core.sources.reading import reading
from cytotable_dagster.core.sources.state import check_unchanged
from cytotable_dagster.core.steps.plate_work import Work
from cytotable_dagster.core.storage.destination import Claim, Destination
from cytotable_dagster.core.storage.local_destination import LocalDestination

if TYPE_CHECKING:
    from parsl import Config


@dataclass(frozen=True)
class Target:
    """Where one plate's results go: the joined table alone as `single`, tables as files or as folders of chunk files;
    `claim` is what was claimed of the place."""

    place: Destination
    claim: Claim
    single: str
    overwrite: bool

    def names(self, plan: Plan, request: Request) -> dict[str, str]:
        """What the results are called there, by table."""
        if request.joined and not request.both:
            return {SINGLE_CELLS: self.single}
        tables = (*plan.results, SINGLE_CELLS) if request.both else plan.results
        return {name: output_name(name, request.options.one_file) for name in tables}


def convert_plate(
    plate: Plate, request: Request, target: Target, parsl_config: "Config | None", started: float
) -> ConversionResult:
    """Convert one plate; everything appears when all of it is whole.

    Args:
        started: `time.perf_counter()` when the conversion began.
    """
    place, concat = target.place, request.options.one_file
    options = replace(request.options, numbered=bool(request.add_tablenumber))
    with (
        fetched(plate, request.cache, request.experiment) as source,
        place.scratch() as scratch,
        reading(source, copies_in(scratch / "plan")) as readable,
        runner(parsl_config, scratch) as run,
        place.together(scratch, target.claim, overwrite=target.overwrite) as results,
    ):
        # The digest of a local file costs a pass over it, which runs beside the work.
        digest = run.submit(content_digest, source.path) if source.digest is None else None
        plan = make_plan(readable, request.preset_of(readable), options, scratch / "plan")
        if digest is not None and not concat:
            # Of which every chunk file tells.
            plan = replace(plan, source=replace(plan.source, digest=digest.result()))
            save_plan(plan)
        report = planned_report(plan)
        if request.strict:
            report.check()
        names = target.names(plan, request)
        check_free(place, names.values(), target.overwrite)
        # A file of a store goes up while it is made.
        streamed = concat and request.joins is None and not isinstance(place, LocalDestination)
        out = (lambda table: results.create(names[table])) if streamed else None
        work = Work(plan, run, scratch, concat, digest, out)
        made = work.results(request.joined, request.both, request.joins)
        report = finished_report(plan, report, made, by_query=request.joins is not None)
        if request.strict:
            report.check()
        check_unchanged(source)
        if not streamed:
            for table, facts in made.items():
                results.take(facts.path, names[table])
    columns = _put_map(plan, place, names, by_query=request.joins is not None) if request.column_map else None
    return ConversionResult(
        files={table: replace(facts, path=place.path(names[table])) for table, facts in made.items()},
        sources=(source if digest is None else replace(source, digest=digest.result()),),
        readers=plan.readers,
        seconds=time.perf_counter() - started,
        report=report,
        columns=columns,
    )


def _put_map(plan: Plan, place: Destination, names: Mapping[str, str], *, by_query: bool) -> Path:
    """Put the map of the columns of these tables beside them; where it is."""
    # A folder of chunk files, or one file.
    files = {table: [stored.name for stored in place.list(name)] or [name] for table, name in names.items()}
    opened = {table: [partial(place.open, file) for file in own] for table, own in files.items()}
    facts = {**plan.facts(), "tables": json.dumps(dict.fromkeys(names, plan.fingerprint))}
    put_columns(column_map(plan, opened, by_query=by_query), facts, place)
    return place.path(FILE)
