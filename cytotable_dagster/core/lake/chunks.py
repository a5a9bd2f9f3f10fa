"""A lake: a folder for each plate, with its plan, its chunk files and its results, each done again only where needed;
see `lake.folder` for where they lie."""

import json
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import (
    CytoTableError,
    DamagedSourceError,
    PlanError,
)
from cytotable_dagster.core.execution.runner import Runner
from cytotable_dagster.core.intake.cache import fetch, kept
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.model.types import FileFacts, Plate, Source
from cytotable_dagster.core.parquet.writing import facts_in
from cytotable_dagster.core.planning.make_plan import make_plan
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.planning.plan import Plan, fingerprint, load_plan, recopied, save_plan
from cytotable_dagster.core.reports.account import keep_report, kept_report, planned_report
from cytotable_dagster.core.reports.records import ConversionReport
from cytotable_dagster.core.sources.detection import resolved_preset
from cytotable_dagster.core.sources.identity import content_crc32, content_md5
from cytotable_dagster.core.sources.sqlite.copies import settled
from cytotable_dagster.core.sources.state import check_unchanged, unless_changed
from cytotable_dagster.core.steps.chunk_files import file_facts, write_chunks
from cytotable_dagster.core.support.files import scratch_folder, whole_file
from cytotable_dagster.core.support.machine_errors import errors_of_machine

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ChunkOutcome:
    """What became of a chunk: the facts of its file, or the error that it could not be made for."""

    compartment: str
    chunk: int
    result: FileFacts | CytoTableError


def prepare(plate: Plate, folder: PlateFolder, preset: str | None, options: Options, cloud: Mapping[str, Any]) -> Plan:
    """Fetch a plate, look through it and keep the plan, unless the one that is kept still holds.

    Raises:
        CytoTableError: the plate is not there, damaged, of no preset, or its keys do not identify rows.
    """
    with kept(plate.uri, cloud), scratch_folder(folder.copies) as copies:
        source = _known_source(plate, folder, cloud)
        with unless_changed(source):
            return _planned(settled(source, copies), folder, preset, options, copies)


def _planned(source: Source, folder: PlateFolder, preset: str | None, options: Options, copies: Path) -> Plan:
    """The plan that is kept, if it still holds, else a new one."""
    chosen = resolved_preset(source, preset, format=options.format)
    with suppress(FileNotFoundError, ValueError):
        plan = load_plan(folder.plan)
        wanted = fingerprint(source, chosen, options)
        if (plan.fingerprint, plan.source, plan.folder) == (wanted, source, folder.plan):
            kept_report(folder.plan)
            if plan.number is None:
                plan = replace(plan, number=_number(plan, folder))
                save_plan(plan)
            return plan
    # Removed first and written last, plan.json vouches for what lies beside it.
    shutil.rmtree(folder.plan, ignore_errors=True)
    # Reading the file through takes about as long as looking through it.
    try:
        with ThreadPoolExecutor(1) as beside:
            number = beside.submit(content_crc32, source.path)
            plan = make_plan(source, chosen, options, folder.plan, number, copies)
        keep_report(planned_report(plan), folder.plan)
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
    if plan.folder != folder.plan or plan.fingerprint != fingerprint(plan.source, plan.preset, options):
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


def table_number(plan: Plan, folder: PlateFolder, cloud: Mapping[str, Any]) -> int:
    """What tells a plate from others (see `content.content_crc32`). Plans of earlier versions have none: then it is
    computed, once, from the source.

    Raises:
        PlanError: the source is another one now.
        SourceNotFoundError, SourceAccessError, DownloadError: it is gone or cannot be had.
    """
    if plan.number is not None:
        return plan.number
    known = _recorded_number(plan, folder)
    if known is not None:
        return known
    with kept(plan.source.uri, cloud):
        source = _same_source(plan, folder, cloud)
        number = _number(plan, folder)
        check_unchanged(source)
        return number


def _number(plan: Plan, folder: PlateFolder) -> int:
    """The same, of a source that is on this machine."""
    known = _recorded_number(plan, folder)
    if known is not None:
        return known
    number = content_crc32(plan.source.path)
    with whole_file(_number_record(folder)) as temporary:
        temporary.write_text(json.dumps({"source": plan.source.fingerprint, "number": number}))
    return number


def _recorded_number(plan: Plan, folder: PlateFolder) -> int | None:
    with suppress(OSError, ValueError, LookupError, TypeError):
        known = json.loads(_number_record(folder).read_text())
        if known["source"] == plan.source.fingerprint:
            return int(known["number"])
    return None


def _number_record(folder: PlateFolder) -> Path:
    return folder.path / ".table_number.json"


@contextmanager
def with_source(plan: Plan, folder: PlateFolder, cloud: Mapping[str, Any]) -> Iterator[Plan]:
    """The plan, its source on this machine, unchanged, and what has to be copied of it copied, while the block lasts.

    Raises:
        PlanError: it is another one now.
    """
    with kept(plan.source.uri, cloud), scratch_folder(folder.copies) as copies:
        source = _same_source(plan, folder, cloud)
        with unless_changed(source):
            found = recopied(plan, settled(source, copies), copies)
        yield found


def _same_source(plan: Plan, folder: PlateFolder, cloud: Mapping[str, Any]) -> Source:
    """The plan's source as it lies on this machine."""
    plate = Plate(plan.source.plate, plan.source.uri)
    source = _known_source(plate, folder, cloud)
    if source != plan.source:
        raise PlanError(f"{plan.source.uri}: has changed since plate {plate.name} was looked through")
    return source


def missing_chunks(plan: Plan, folder: PlateFolder, compartment: str) -> tuple[int, ...]:
    """The chunks of a compartment whose files are not there, not whole or not of this plan."""
    return tuple(
        chunk
        for chunk in range(plan.chunk_count)
        if not _is_current(folder.chunk(compartment, chunk), plan, _chunk_rows(plan, compartment, chunk))
    )


def make_chunks(
    plan: Plan, folder: PlateFolder, wanted: Mapping[str, Sequence[int]], run: Runner
) -> Generator[ChunkOutcome, None, None]:
    """Convert chunks, by compartment; each as it ends. One that fails does not stop the others."""
    calls = [
        (_attempt, (_chunk_file, plan.folder, compartment, chunk, folder.chunks(compartment)))
        for compartment, chunks in wanted.items()
        for chunk in chunks
    ]
    # Closed here, where what runs can still be waited for.
    with closing(run.run(calls)) as ended:
        for position, outcome in ended:
            _, _, compartment, chunk, _ = calls[position][1]
            if not isinstance(outcome, CytoTableError):
                outcome = _reconciled(plan, compartment, chunk, outcome)
            yield ChunkOutcome(compartment, chunk, outcome)


def facts_of(path: Path) -> FileFacts:
    """Facts of a chunk file that is there."""
    return file_facts(path, time.perf_counter())


def version_of(plan: Plan, path: Path) -> str:
    """What tells a chunk file from the one that was there before it: its plan, and when it was written."""
    return f"{plan.fingerprint}-{path.stat().st_mtime_ns:x}"


def forget_compartment(folder: PlateFolder, compartment: str) -> None:
    """Remove what an earlier source had and this one has not."""
    folder.remove(compartment)
    shutil.rmtree(folder.chunks(compartment), ignore_errors=True)


def _chunk_file(plan_folder: Path, compartment: str, chunk: int, folder: Path) -> FileFacts:
    with unless_changed(load_plan(plan_folder).source):
        (facts,) = write_chunks(plan_folder, compartment, (chunk,), folder, checked=True)
    return facts


def forget_old_chunks(plan: Plan, folder: PlateFolder, compartment: str) -> None:
    """Remove a compartment's chunk files beyond those of the plan, as a plan of more chunks left them."""
    wanted = {folder.chunk(compartment, chunk) for chunk in range(plan.chunk_count)}
    for path in folder.chunks(compartment).glob("[0-9]*.parquet"):
        if path not in wanted:
            path.unlink()


def forget_old_compartments(plan: Plan, folder: PlateFolder) -> None:
    """Remove chunk files and results of tables that an earlier plan had and this one has not."""
    for chunks in folder.path.glob("chunks/*"):
        if chunks.name not in plan.compartments:
            forget_compartment(folder, chunks.name)


def _attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """A call's result, or the error that it ended with, so that other calls go on."""
    try:
        with errors_of_machine():
            return function(*arguments)
    except CytoTableError as error:
        return error


def _reconciled(plan: Plan, compartment: str, chunk: int, facts: FileFacts) -> FileFacts | CytoTableError:
    rows = _chunk_rows(plan, compartment, chunk)
    if facts.rows == rows:
        return facts
    facts.path.unlink()
    table = plan.part(compartment).table.name
    return DamagedSourceError(f"{plan.source.uri}: table {table}, chunk {chunk}: {facts.rows} of {rows} rows were read")


def _is_current(path: Path, plan: Plan, rows: int) -> bool:
    """Whether a file is there, whole, of this plan, with so many rows."""
    import pyarrow as pa

    try:
        return holds_rows(path, plan, rows)
    except (OSError, pa.ArrowInvalid):
        return False


def holds_rows(file: "Path | pa.NativeFile", plan: Plan, rows: int) -> bool:
    """Whether a Parquet file is of this plan, with so many rows."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(file)
    return facts_in(metadata).get("fingerprint") == plan.fingerprint and metadata.num_rows == rows


def _chunk_rows(plan: Plan, compartment: str, chunk: int) -> int:
    return sum(map(len, plan.rows(compartment, chunk)))


def _known_source(plate: Plate, folder: PlateFolder, cloud: Mapping[str, Any]) -> Source:
    """The plate on this machine, known by its content: a local file's MD5 is remembered while the file is the same."""
    source = fetch(plate, cloud)
    if source.md5 is not None:
        return source
    record = folder.path / ".source.json"
    seen = {"uri": source.uri, "state": [list(facts) for facts in source.state]}
    md5 = None
    with suppress(OSError, ValueError):
        known = json.loads(record.read_text())
        if {name: known.get(name) for name in seen} == seen:
            md5 = known["md5"]
    if md5 is None:
        md5 = content_md5(source.path)
        with whole_file(record) as temporary:
            temporary.write_text(json.dumps({**seen, "md5": md5}))
    return replace(source, md5=md5, fingerprint=f"{md5}-{source.size}")
