"""Compartments: chunk files made in parallel, and one Parquet file of each compartment's chunks.

The plate-wide step makes the chunks that are missing itself, so that one run takes a plate from source to result; the
chunk assets stand for the same files and make single ones again.
"""

from collections.abc import Iterator, Sequence

import dagster as dg

from cytotable_dagster.core.lake.chunks import (
    forget_compartment,
    forget_old_compartments,
    kept_plan,
    missing_chunks,
)
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.lake.results import result_facts, result_version, whole_compartment
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.defs.assets.chunk_events import (
    make_and_record,
    newest_chunk_tags,
    record_absent,
    record_unrecorded,
)
from cytotable_dagster.defs.assets.common import (
    CODE_VERSION,
    COMPARTMENTS,
    CONVERT_POOL,
    OWNERS,
    PLATE_SQLITE,
    chunk_asset_key,
    compartment_key,
)
from cytotable_dagster.defs.assets.faults import step
from cytotable_dagster.defs.metadata import absent_metadata, compartment_metadata
from cytotable_dagster.defs.partitions import CHUNK, PLATE, name_of, plate_chunk_partitions, plates
from cytotable_dagster.defs.resources import Lake, ParslCluster, PlateSource


def chunk_assets(chunks: int) -> dg.AssetsDefinition:
    specs = [
        dg.AssetSpec(
            chunk_asset_key(compartment),
            deps=[PLATE_SQLITE],
            description=f"A contiguous share of the plate's images, their rows of the {compartment} table as Parquet. "
            "Made by the plate's run; materialize single chunks here to make them again.",
            group_name="chunks",
            kinds={"parquet", "parsl"},
            owners=OWNERS,
            code_version=CODE_VERSION,
            # Each chunk's event is logged as the chunk ends, with its own facts.
            skippable=True,
        )
        for compartment in COMPARTMENTS
    ]

    @dg.multi_asset(
        name="compartment_chunks",
        specs=specs,
        can_subset=True,
        partitions_def=plate_chunk_partitions(chunks),
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=CONVERT_POOL,
    )
    def compartment_chunks(
        context: dg.AssetExecutionContext, plate_files: PlateSource, lake: Lake, parsl_cluster: ParslCluster
    ) -> Iterator[dg.MaterializeResult]:
        selected = [c for c in COMPARTMENTS if chunk_asset_key(c) in context.selected_asset_keys]
        for plate, numbers in _by_plate(context.partition_keys).items():
            folder = lake.of(plate)
            with step(context), folder.locked():
                plan = kept_plan(plate, folder, lake.options(chunks))
                wanted = {c: numbers for c in selected if c in plan.compartments}
                make_and_record(context, plan, folder, wanted, plate_files, parsl_cluster)
                for compartment in selected:
                    if compartment not in wanted:
                        record_absent(context, plan, compartment, numbers)
        # Nothing is left to tell: every chunk has its event.
        yield from ()

    return compartment_chunks


def compartment_assets(chunks: int) -> dg.AssetsDefinition:
    specs = [
        dg.AssetSpec(
            compartment_key(compartment),
            deps=[PLATE_SQLITE, chunk_asset_key(compartment)],
            description=f"{compartment}.parquet: all rows of the plate's {compartment} table, in the order of their "
            "keys. Chunks that are missing are made first. Fails where rows are lost.",
            group_name="parquet",
            kinds={"parquet"},
            owners=OWNERS,
            code_version=CODE_VERSION,
            skippable=True,
        )
        for compartment in COMPARTMENTS
    ]

    @dg.multi_asset(
        name="compartments",
        specs=specs,
        can_subset=True,
        partitions_def=plates,
        pool=CONVERT_POOL,
    )
    def compartments(
        context: dg.AssetExecutionContext, plate_files: PlateSource, lake: Lake, parsl_cluster: ParslCluster
    ) -> Iterator[dg.MaterializeResult]:
        plate = name_of(context.partition_key)
        folder = lake.of(plate)
        with step(context), folder.locked():
            plan = kept_plan(plate, folder, lake.options(chunks))
            selected = [c for c in COMPARTMENTS if compartment_key(c) in context.selected_asset_keys]
            # Tables that only a preset of the user's own names have files and events, but no asset of ours.
            others = [c for c in plan.compartments if c not in COMPARTMENTS]
            missing = {c: missing_chunks(plan, folder, c) for c in (*selected, *others) if c in plan.compartments}
            make_and_record(context, plan, folder, missing, plate_files, parsl_cluster)
            for compartment in others:
                made = _whole(context, plan, folder, compartment)
                context.log_event(
                    dg.AssetMaterialization(
                        made.asset_key or compartment, partition=context.partition_key, metadata=made.metadata
                    )
                )
            for compartment in selected:
                if compartment in plan.compartments:
                    yield _whole(context, plan, folder, compartment)
                else:
                    yield _absent(context, plan, folder, compartment)
            forget_old_compartments(plan, folder)

    return compartments


def _whole(
    context: dg.AssetExecutionContext, plan: Plan, folder: PlateFolder, compartment: str
) -> dg.MaterializeResult:
    record_unrecorded(context, plan, folder, compartment)
    facts = whole_compartment(plan, folder, compartment) or result_facts(folder, compartment)
    return dg.MaterializeResult(
        asset_key=compartment_key(compartment),
        metadata=compartment_metadata(plan, folder, compartment, facts),
        data_version=dg.DataVersion(result_version(plan, folder, compartment)),
        tags=newest_chunk_tags(context, compartment),
    )


def _absent(
    context: dg.AssetExecutionContext, plan: Plan, folder: PlateFolder, compartment: str
) -> dg.MaterializeResult:
    record_absent(context, plan, compartment, range(plan.chunk_count))
    forget_compartment(folder, compartment)
    return dg.MaterializeResult(
        asset_key=compartment_key(compartment),
        metadata=absent_metadata(plan, compartment),
        data_version=dg.DataVersion(plan.fingerprint),
        tags=newest_chunk_tags(context, compartment),
    )


def _by_plate(keys: Sequence[str]) -> dict[str, list[int]]:
    """Chunk numbers of each plate among partition keys."""
    found: dict[str, list[int]] = {}
    for key in keys:
        assert isinstance(key, dg.MultiPartitionKey)
        found.setdefault(name_of(key.keys_by_dimension[PLATE]), []).append(int(key.keys_by_dimension[CHUNK]))
    return found
