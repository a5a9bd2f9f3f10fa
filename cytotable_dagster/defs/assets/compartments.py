"""Compartments: chunk files made in parallel, and one Parquet file of each compartment's chunks.

The plate-wide step makes the chunks that are missing itself, so that one run takes a plate from source to result; the
chunk assets stand for the same files and make single ones again.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import dagster as dg

from cytotable_dagster.core.lake.chunks import (
    forget_compartment,
    forget_old_compartments,
    missing_chunks,
)
from cytotable_dagster.core.lake.columns import update_columns
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.lake.plans import kept_plan
from cytotable_dagster.core.lake.results import result_version, whole_compartment
from cytotable_dagster.core.model.types import FileFacts
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.support.cores import cores
from cytotable_dagster.defs.assets.chunk_events import (
    make_and_record,
    newest_chunk_tags,
    record_absent,
    record_unrecorded,
)
from cytotable_dagster.defs.assets.common import (
    CHUNK_GROUP,
    CODE_VERSION,
    COMPARTMENTS,
    CONVERT_POOL,
    PLATE_SQLITE,
    SINGLE_CELLS,
    TABLE_GROUP,
    chunk_asset_key,
    compartment_key,
)
from cytotable_dagster.defs.assets.faults import step
from cytotable_dagster.defs.assets.images import place_of
from cytotable_dagster.defs.cluster import ParslCluster
from cytotable_dagster.defs.partitions import CHUNK, PLATE, name_of, plate_chunk_partitions, plates
from cytotable_dagster.defs.plate_pages import table_pictures
from cytotable_dagster.defs.resources import Lake, PlateSource
from cytotable_dagster.defs.table_metadata import absent_metadata, compartment_metadata


def chunk_assets(chunks: int, compartments: Sequence[str] = COMPARTMENTS) -> dg.AssetsDefinition:
    specs = [
        dg.AssetSpec(
            chunk_asset_key(compartment),
            deps=[PLATE_SQLITE],
            description=f"{compartment} in parts: the rows of a share of the plate's images, as Parquet. Made by the "
            "plate's run; materialize single chunks here to make them again.",
            group_name=CHUNK_GROUP,
            kinds={"parquet"},
            code_version=CODE_VERSION,
            # Each chunk's event is logged as the chunk ends, with its own facts.
            skippable=True,
        )
        for compartment in compartments
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
        selected = [c for c in compartments if chunk_asset_key(c) in context.selected_asset_keys]
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


def compartment_assets(chunks: int, named: Sequence[str] = COMPARTMENTS) -> dg.AssetsDefinition:
    specs = [
        dg.AssetSpec(
            compartment_key(compartment),
            deps=[PLATE_SQLITE, chunk_asset_key(compartment)],
            description=f"{compartment}.parquet: all rows of the plate's {compartment} table, in the order of their "
            "keys. Chunks that are missing are made first. Fails where rows are lost.",
            group_name=TABLE_GROUP,
            kinds={"parquet", "table"},
            code_version=CODE_VERSION,
            skippable=True,
        )
        for compartment in named
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
            selected = [c for c in named if compartment_key(c) in context.selected_asset_keys]
            # Tables of a preset that was not known while definitions were built have files and events, but no asset.
            others = [c for c in plan.compartments if c not in named]
            missing = {c: missing_chunks(plan, folder, c) for c in (*selected, *others) if c in plan.compartments}
            # Where the run comes to the joined table, its rows are made by the same reading.
            joined = context.job_def.has_node_named(SINGLE_CELLS.to_python_identifier())
            recorded = make_and_record(context, plan, folder, missing, plate_files, parsl_cluster, joined=joined)
            for compartment in selected:
                if compartment not in plan.compartments:
                    yield _absent(context, plan, folder, compartment)
            forget_old_compartments(plan, folder)
            for compartment in missing:
                record_unrecorded(context, plan, folder, compartment, recorded[compartment])
            # Bytes are copied, and columns mapped, while pages are drawn of the tables that are whole.
            with ThreadPoolExecutor(cores() + 1) as beside:
                whole = {c: beside.submit(whole_compartment, plan, folder, c) for c in missing}
                mapped = beside.submit(_mapped, plan, folder, whole, selected)
                for compartment, made in whole.items():
                    page = _page(context, plan, folder, compartment, made.result())
                    if compartment in selected:
                        yield page
                    else:
                        _log_other(context, page)
                mapped.result()

    return compartments


def _mapped(plan: Plan, folder: PlateFolder, whole: Mapping[str, Future[FileFacts]], selected: Sequence[str]) -> None:
    """Map the columns of tables, once all are whole; of none where one is not, which whoever asks for it is told."""
    wait(whole.values())
    if not any(made.exception() for made in whole.values()):
        update_columns(plan, folder, place_of(folder), {*whole, *selected})


def _log_other(context: dg.AssetExecutionContext, page: dg.MaterializeResult) -> None:
    """Record a table that has no asset."""
    assert page.asset_key is not None
    context.log_event(dg.AssetMaterialization(page.asset_key, partition=context.partition_key, metadata=page.metadata))


def _page(
    context: dg.AssetExecutionContext, plan: Plan, folder: PlateFolder, compartment: str, facts: FileFacts
) -> dg.MaterializeResult:
    pictures, wells = table_pictures(context.instance, plan, folder, place_of(folder), compartment)
    return dg.MaterializeResult(
        asset_key=compartment_key(compartment),
        metadata=compartment_metadata(plan, folder, compartment, facts, pictures, wells),
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
