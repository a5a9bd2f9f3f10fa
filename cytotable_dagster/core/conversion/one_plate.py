"""One plate on its way to its results."""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cytotable_dagster.core.conversion.place import check_free, output_name
from cytotable_dagster.core.conversion.request import Request
from cytotable_dagster.core.execution.runner import runner
from cytotable_dagster.core.intake.cache import fetched
from cytotable_dagster.core.model.types import SINGLE_CELLS, Plate
from cytotable_dagster.core.planning.make_plan import make_plan
from cytotable_dagster.core.planning.plan import Plan, copies_in
from cytotable_dagster.core.reports.account import finished_report, planned_report
from cytotable_dagster.core.reports.results import ConversionResult
from cytotable_dagster.core.sources.identity import content_crc32, content_md5
from cytotable_dagster.core.sources.sqlite.copies import settled
from cytotable_dagster.core.sources.state import check_unchanged, unless_changed
from cytotable_dagster.core.steps.plate_work import Work
from cytotable_dagster.core.storage.destination import Claim, Destination, LocalDestination

if TYPE_CHECKING:
    from parsl import Config


@dataclass(frozen=True)
class Target:
    """Where one plate's results go: the joined table as `single`, tables as files or as folders of chunk files; `claim`
    is what was claimed of the place."""

    place: Destination
    claim: Claim
    single: str
    overwrite: bool

    def names(self, plan: Plan, request: Request) -> dict[str, str]:
        """What the results are called there, by table."""
        if request.joined:
            return {SINGLE_CELLS: self.single}
        return {name: output_name(name, request.options.one_file) for name in plan.results}


def convert_plate(
    plate: Plate, request: Request, target: Target, parsl_config: "Config | None", started: float
) -> ConversionResult:
    """Convert one plate; everything appears when all of it is whole.

    Args:
        started: `time.perf_counter()` when the conversion began.
    """
    place, concat, options = target.place, request.options.one_file, request.options
    with (
        fetched(plate, request.cloud, request.experiment) as source,
        unless_changed(source),
        place.scratch() as scratch,
        runner(parsl_config, scratch) as run,
        place.together(scratch, target.claim, overwrite=target.overwrite) as results,
    ):
        # The digest of a local file costs a pass over it, which runs beside the work.
        digest = run.submit(content_md5, source.path) if source.md5 is None else None
        if digest is not None and not concat:
            source = replace(source, md5=digest.result())
        if request.add_tablenumber:
            options = replace(options, table_number=content_crc32(source.path))
        readable = settled(source, copies_in(scratch / "plan"))
        plan = make_plan(readable, request.preset_of(readable), options, scratch / "plan")
        report = planned_report(plan)
        if request.strict:
            report.check()
        names = target.names(plan, request)
        check_free(place, names.values(), target.overwrite)
        # A file of a store goes up while it is made.
        streamed = concat and request.joins is None and not isinstance(place, LocalDestination)
        out = (lambda table: results.create(names[table])) if streamed else None
        work = Work(plan, run, scratch, concat, digest, request.progress, out)
        if request.joins is not None:
            made = {SINGLE_CELLS: work.joined_by_sql(request.joins)}
        elif request.joined:
            made = {SINGLE_CELLS: work.single_cells()}
        else:
            made = work.compartments()
        report = finished_report(plan, report, made, by_query=request.joins is not None)
        if request.strict:
            report.check()
        check_unchanged(source)
        if not streamed:
            for table, facts in made.items():
                results.take(facts.path, names[table])
    return ConversionResult(
        files={table: replace(facts, path=place.path(names[table])) for table, facts in made.items()},
        sources=(source,),
        readers=plan.readers,
        seconds=time.perf_counter() - started,
        report=report,
    )
