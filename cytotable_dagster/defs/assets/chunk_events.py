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
from cytotable_dagster.core.lake.chunks import facts_of, make_chunks, version_of, with_source
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.model.types import FileFacts
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.support.files import scratch_folder
from cytotable_dagster.defs.assets.common import (
    CODE_VERSION,
    PLATE_SQLITE,
    chunk_asset_key,
    data_version,
    latest_record,
)
from cytotable_dagster.defs.assets.faults import ended_by, passes
from cytotable_dagster.defs.metadata import absent_metadata, chunk_metadata
from cytotable_dagster.defs.partitions import chunk_key, key_of
from cytotable_dagster.defs.resources import ParslCluster, PlateSource


def make_and_record(
    context: dg.AssetExecutionContext,
    plan: Plan,
    folder: PlateFolder,
    wanted: Mapping[str, Sequence[int]],
    plate_files: PlateSource,
    parsl_cluster: ParslCluster,
) -> None:
    """Make chunks, by compartment, and record each as it ends.

    Raises:
        DamagedCopyError: the plate's copy in the cache was damaged, and has gone.
        dg.Failure: some failed; those that did not are kept and recorded.
    """
    if not any(wanted.values()):
        return
    failed = []
    with (
        with_source(plan, folder, plate_files.cloud()) as here,
        scratch_folder(folder.path / "run") as scratch,
        parsl_cluster.runner(scratch) as run,
        closing(make_chunks(here, folder, wanted, run)) as outcomes,
    ):
        for outcome in outcomes:
            if isinstance(outcome.result, FileFacts):
                _record(
                    context,
                    plan,
                    outcome.compartment,
                    outcome.chunk,
                    version_of(plan, outcome.result.path),
                    chunk_metadata(plan, outcome.compartment, outcome.result),
                )
            else:
                failed.append((outcome.result, f"{outcome.compartment} {outcome.chunk}"))
    if failed:
        for error, _ in failed:
            if isinstance(error, DamagedSourceError):
                check_copy(plan.source.uri, plate_files.cloud(), error)
        # What does not pass decides: the step is not tried again for the others.
        error, which = min(failed, key=lambda failure: passes(failure[0]))
        where = f"{len(failed)} of {sum(map(len, wanted.values()))} chunks failed, {which}: "
        raise ended_by(context, error, where) from None


def record_unrecorded(context: dg.AssetExecutionContext, plan: Plan, folder: PlateFolder, compartment: str) -> None:
    """Record chunk files that are there but that no event tells of, as a killed run leaves them."""
    for chunk in range(plan.chunk_count):
        path = folder.chunk(compartment, chunk)
        version = version_of(plan, path)
        known = latest_record(context.instance, chunk_asset_key(compartment), chunk_key(plan.source.plate, chunk))
        if data_version(known) != version:
            _record(context, plan, compartment, chunk, version, chunk_metadata(plan, compartment, facts_of(path)))


def record_absent(context: dg.AssetExecutionContext, plan: Plan, compartment: str, chunks: Iterable[int]) -> None:
    """Record that chunks have nothing in them, the plate having no such table."""
    for chunk in chunks:
        known = latest_record(context.instance, chunk_asset_key(compartment), chunk_key(plan.source.plate, chunk))
        if data_version(known) != plan.fingerprint:
            _record(context, plan, compartment, chunk, plan.fingerprint, absent_metadata(plan, compartment))


def newest_chunk_tags(context: dg.AssetExecutionContext, compartment: str) -> dict[str, str]:
    """Tags of a compartment's own event that say it was made of the chunks recorded up to now.

    Dagster notes what there was when the step began, before the step recorded its chunks.
    """
    key = chunk_asset_key(compartment)
    newest = latest_record(context.instance, key)
    return {} if newest is None else {f"dagster/input_event_pointer/{key.to_user_string()}": str(newest.storage_id)}


def _record(
    context: dg.AssetExecutionContext,
    plan: Plan,
    compartment: str,
    chunk: int,
    version: str,
    metadata: Mapping[str, Any],
) -> None:
    upstream = latest_record(context.instance, PLATE_SQLITE, key_of(plan.source.plate))
    name = PLATE_SQLITE.to_user_string()
    tags = {
        "dagster/data_version": version,
        "dagster/data_version_is_user_provided": "true",
        "dagster/code_version": CODE_VERSION,
    }
    if upstream is not None:
        tags[f"dagster/input_data_version/{name}"] = data_version(upstream) or ""
        tags[f"dagster/input_event_pointer/{name}"] = str(upstream.storage_id)
    context.log_event(
        dg.AssetMaterialization(
            asset_key=chunk_asset_key(compartment),
            partition=chunk_key(plan.source.plate, chunk),
            metadata=metadata,
            tags=tags,
        )
    )
