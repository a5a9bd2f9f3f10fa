"""The plans of a lake's plates: a plate is looked through once, and its plan is kept while it holds."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from cytotable_dagster.core.errors import PlanError
from cytotable_dagster.core.intake.cache import fetch, kept
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.lake.chunk_wells import keep_chunk_wells, wells_of_chunk
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.model.types import Plate, Source
from cytotable_dagster.core.planning.make_plan import make_plan
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.planning.plan import Plan, fingerprint, load_plan, recopied
from cytotable_dagster.core.reports.account import keep_report, kept_report, planned_report
from cytotable_dagster.core.reports.records import ConversionReport
from cytotable_dagster.core.sources.detection import resolved_preset
from cytotable_dagster.core.sources.identity import content_digest, known_by_content
from cytotable_dagster.core.sources.reading import reading
from cytotable_dagster.core.sources.state import check_unchanged
from cytotable_dagster.core.support.files import scratch_folder, whole_file


def prepare(plate: Plate, folder: PlateFolder, preset: str | None, options: Options, cache: Cache) -> Plan:
    """Fetch a plate, look through it and keep the plan, unless the one that is kept still holds.

    Raises:
        CytoTableError: the plate is not there, damaged, of no preset, or its keys do not identify rows.
    """
    with (
        kept(plate.uri, cache),
        scratch_folder(folder.copies) as copies,
        reading(fetch(plate, cache), copies) as readable,
        ThreadPoolExecutor(1) as beside,
    ):
        known = None if readable.digest else beside.submit(_digest, readable, folder)
        return _planned(readable, known, folder, preset, _in_lake(options, plate.name), copies)


def _in_lake(options: Options, plate: str) -> Options:
    """How a plate is converted that stands among others: every row tells the plate, so that files of a lake are those
    of its datasets."""
    return replace(options, numbered=True, plate_name=plate)


def _planned(
    source: Source,
    digest: "Future[str] | None",
    folder: PlateFolder,
    preset: str | None,
    options: Options,
    copies: Path,
) -> Plan:
    """The plan that is kept, if it still holds, else a new one, which is made while the `digest` still is."""
    chosen = resolved_preset(source, preset, format=options.format)
    with suppress(FileNotFoundError, ValueError):
        plan = load_plan(folder.plan)
        known = known_by_content(source, digest.result()) if digest else source
        wanted = fingerprint(known, chosen, options)
        if (plan.fingerprint, plan.source, plan.folder) == (wanted, known, folder.plan):
            kept_report(folder.plan)
            wells_of_chunk(plan, 0)
            return plan
    # Removed first and written last, plan.json.zst vouches for what lies beside it.
    shutil.rmtree(folder.plan, ignore_errors=True)
    try:
        plan = make_plan(source, chosen, options, folder.plan, copies, digest)
        keep_report(planned_report(plan), folder.plan)
        keep_chunk_wells(plan)
        check_unchanged(source)
    except BaseException:
        shutil.rmtree(folder.plan, ignore_errors=True)
        raise
    return plan


def kept_plan(plate: str, folder: PlateFolder, options: Options) -> Plan:
    """The plan that `prepare` kept.

    Raises:
        PlanError: there is none, or it was made for other options or by another version.
    """
    try:
        plan = load_plan(folder.plan)
    except (FileNotFoundError, ValueError) as error:
        raise PlanError(f"plate {plate}: it has no plan in {folder.path}") from error
    if options.chunks not in (None, plan.chunk_count):
        raise PlanError(
            f"plate {plate}: its plan in {folder.path} is of {plan.chunk_count} chunks, {options.chunks} are asked for"
        )
    if plan.folder != folder.plan or plan.fingerprint != fingerprint(
        plan.source, plan.preset, _in_lake(options, plate)
    ):
        raise PlanError(f"plate {plate}: its plan in {folder.path} was made with other settings or by another version")
    return plan


def planned_chunks(folder: PlateFolder) -> int | None:
    """How many chunks a plate has by the plan that is kept; None where there is none that can be read."""
    with suppress(FileNotFoundError, ValueError):
        return load_plan(folder.plan).chunk_count
    return None


def plan_report(plan: Plan) -> ConversionReport:
    """What `prepare` found out about a plan; the source is not needed for it.

    Raises:
        PlanError: it is not kept.
    """
    try:
        return kept_report(plan.folder)
    except (FileNotFoundError, ValueError) as error:
        raise PlanError(f"plate {plan.source.plate}: its plan in {plan.folder} has no report") from error


@contextmanager
def with_source(plan: Plan, folder: PlateFolder, cache: Cache) -> Iterator[Plan]:
    """The plan, its source on this machine, unchanged, and what has to be copied of it copied, while the block lasts.

    Raises:
        PlanError: it is another one now.
    """
    with kept(plan.source.uri, cache), scratch_folder(folder.copies) as copies:
        source = _same_source(plan, folder, cache)
        with reading(source, copies) as readable:
            found = recopied(plan, readable, copies)
        yield found


def _same_source(plan: Plan, folder: PlateFolder, cache: Cache) -> Source:
    """The plan's source as it lies on this machine."""
    plate = Plate(plan.source.plate, plan.source.uri)
    source = fetch(plate, cache)
    if source.digest is None:
        source = known_by_content(source, _digest(source, folder))
    if source != plan.source:
        raise PlanError(f"{plan.source.uri}: has changed since plate {plate.name} was looked through")
    return source


def _digest(source: Source, folder: PlateFolder) -> str:
    """The digest of a plate of this machine, which is remembered while its files are the same."""
    record = folder.path / ".source.json"
    seen = {"uri": source.uri, "state": [list(facts) for facts in source.state]}
    with suppress(OSError, ValueError, KeyError):
        known = json.loads(record.read_text())
        if {name: known.get(name) for name in seen} == seen:
            return str(known["digest"])
    digest = content_digest(source.path)
    with whole_file(record) as temporary:
        temporary.write_text(json.dumps({**seen, "digest": digest}))
    return digest
