"""Events of chunks, recorded by the step that made them: each chunk partition shows its own facts.

A chunk asset run by itself would have Dagster write one event for all partitions of a run, and the plate's run has no
chunk partitions at all; so both log events here, with the tags by which Dagster tells what is outdated.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

import dagster as dg

from cytotable_dagster.core.errors import DamagedSourceError
from cytotable_dagster.core.intake.cache import check_copy
from cytotable_dagster.core.lake.chunks import ChunkOutcome, chunk_facts, chunks_of, version_of
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.lake.making import make_chunks
from cytotable_dagster.core.lake.plans import with_source
from cytotable_dagster.core.model.types import FileFacts
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.shown import counted
from cytotable_dagster.core.support.files import scratch_folder
from cytotable_dagster.core.support.pacing import Pace
from cytotable_dagster.defs.assets.common import (
    CODE_VERSION,
    PLATE_SQLITE,
    chunk_asset_key,
    data_version,
    latest_record,
)
from cytotable_dagster.defs.assets.faults import ended_by, passes
from cytotable_dagster.defs.cluster import ParslCluster
from cytotable_dagster.defs.partitions import chunk_key, chunk_name, key_of
from cytotable_dagster.defs.resources import PlateSource
from cytotable_dagster.defs.table_metadata import absent_metadata, chunk_metadata

_CHUNKS = "chunks"


def make_and_record(
    context: dg.AssetExecutionContext,
    plan: Plan,
    folder: PlateFolder,
    wanted: Mapping[str, Sequence[int]],
    plate_files: PlateSource,
    parsl_cluster: ParslCluster,
    *,
    joined: bool = False,
) -> dict[str, dict[int, str]]:
    """Make chunks, by compartment, and record each as it ends; `joined` as of `make_chunks`. The versions of those
    recorded, by compartment and number.

    Raises:
        DamagedCopyError: the plate's copy in the cache was damaged, and has gone.
        dg.Failure: some failed; those that did not are kept and recorded.
    """
    recorded: dict[str, dict[int, str]] = {name: {} for name in wanted}
    if not any(wanted.values()):
        return recorded
    failed = []
    upstream = _source_tags(context, plan)
    pace, chunks = Pace(), sum(map(len, wanted.values()))
    with (
        with_source(plan, folder, plate_files.copies()) as here,
        scratch_folder(folder.path / "run") as scratch,
        parsl_cluster.runner(scratch) as run,
        closing(make_chunks(here, folder, wanted, run, joined)) as outcomes,
    ):
        for done, outcome in enumerate(outcomes, start=1):
            if pace.due(_CHUNKS, done, chunks):
                context.log.info(_line(outcome, done, chunks) + pace.left(_CHUNKS, done, chunks))
            if isinstance(outcome.result, FileFacts):
                name, chunk, version = outcome.compartment, outcome.chunk, version_of(plan, outcome.made)
                metadata = chunk_metadata(plan, folder, name, chunk, outcome.result)
                _record(context, plan, name, chunk, version, metadata, upstream)
                recorded[name][chunk] = version
            else:
                failed.append((outcome.result, f"{outcome.compartment} {outcome.chunk}"))
    if failed:
        for error, _ in failed:
            if isinstance(error, DamagedSourceError):
                check_copy(plan.source.uri, plate_files.copies(), error)
        # What does not pass decides: the step is not tried again for the others.
        error, which = min(failed, key=lambda failure: passes(failure[0]))
        where = f"{len(failed)} of {chunks} chunks failed, {which}: "
        raise ended_by(context, error, where) from None
    return recorded


def _line(outcome: ChunkOutcome, done: int, chunks: int) -> str:
    made = outcome.result
    became = f"{counted(made.rows, 'row')} in {made.seconds:.1f} s" if isinstance(made, FileFacts) else "failed"
    return (
        f"chunk {done} of {chunks}: {outcome.compartment} {chunk_name(outcome.chunk)}, {became}; {chunks - done} to go"
    )


def record_unrecorded(
    context: dg.AssetExecutionContext, plan: Plan, folder: PlateFolder, compartment: str, recorded: Mapping[int, str]
) -> None:
    """Record chunks that are there but that no event tells of, as a killed run leaves them; but for what was recorded
    just before."""
    for number, chunk in enumerate(chunks_of(plan, folder, compartment)):
        if chunk is None:
            continue
        version = version_of(plan, chunk.made)
        if recorded.get(number) == version:
            continue
        known = latest_record(context.instance, chunk_asset_key(compartment), chunk_key(plan.source.plate, number))
        if data_version(known) != version:
            metadata = chunk_metadata(plan, folder, compartment, number, chunk_facts(plan, compartment, chunk))
            _record(context, plan, compartment, number, version, metadata, _source_tags(context, plan))


def record_absent(context: dg.AssetExecutionContext, plan: Plan, compartment: str, chunks: Iterable[int]) -> None:
    """Record that chunks have nothing in them, the plate having no such table."""
    for chunk in chunks:
        known = latest_record(context.instance, chunk_asset_key(compartment), chunk_key(plan.source.plate, chunk))
        if data_version(known) != plan.fingerprint:
            metadata = absent_metadata(plan, compartment)
            _record(context, plan, compartment, chunk, plan.fingerprint, metadata, _source_tags(context, plan))


def newest_chunk_tags(context: dg.AssetExecutionContext, *compartments: str) -> dict[str, str]:
    """Tags of the event of what is made of compartments' chunks that say it was made of those recorded up to now.

    Dagster notes what there was when the step began, before the step recorded its chunks.
    """
    newest = {key: latest_record(context.instance, key) for key in map(chunk_asset_key, compartments)}
    return {
        f"dagster/input_event_pointer/{key.to_user_string()}": str(record.storage_id)
        for key, record in newest.items()
        if record is not None
    }


def _source_tags(context: dg.AssetExecutionContext, plan: Plan) -> dict[str, str]:
    """Tags of the event of a chunk that say of which look through its plate it was made."""
    upstream = latest_record(context.instance, PLATE_SQLITE, key_of(plan.source.plate))
    name = PLATE_SQLITE.to_user_string()
    if upstream is None:
        return {}
    return {
        f"dagster/input_data_version/{name}": data_version(upstream) or "",
        f"dagster/input_event_pointer/{name}": str(upstream.storage_id),
    }


def _record(
    context: dg.AssetExecutionContext,
    plan: Plan,
    compartment: str,
    chunk: int,
    version: str,
    metadata: Mapping[str, Any],
    upstream: Mapping[str, str],
) -> None:
    tags = {
        **upstream,
        "dagster/data_version": version,
        "dagster/data_version_is_user_provided": "true",
        "dagster/code_version": CODE_VERSION,
    }
    context.log_event(
        dg.AssetMaterialization(
            asset_key=chunk_asset_key(compartment),
            partition=chunk_key(plan.source.plate, chunk),
            metadata=metadata,
            tags=tags,
        )
    )
