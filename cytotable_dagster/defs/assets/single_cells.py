"""Single cells: the compartments of a plate joined, one row for each cytoplasm (or the preset's other base)."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import dagster as dg

from cytotable_dagster.core.lake import results as core
from cytotable_dagster.core.lake.chunks import forget_compartment
from cytotable_dagster.core.lake.columns import update_columns
from cytotable_dagster.core.lake.plans import kept_plan, plan_report
from cytotable_dagster.core.model.types import SINGLE_CELLS as JOINED
from cytotable_dagster.defs.assets.chunk_events import newest_chunk_tags
from cytotable_dagster.defs.assets.common import (
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
from cytotable_dagster.defs.partitions import name_of, plates
from cytotable_dagster.defs.plate_pages import table_pictures
from cytotable_dagster.defs.resources import Lake
from cytotable_dagster.defs.table_metadata import no_cells_metadata, single_cells_metadata


def single_cells_asset(chunks: int, compartments: Sequence[str] = COMPARTMENTS) -> dg.AssetsDefinition:
    @dg.asset(
        key=SINGLE_CELLS,
        # Made of the chunk files, so that one that is made anew outdates it though its compartment is not yet whole.
        deps=[PLATE_SQLITE, *map(chunk_asset_key, compartments), *map(compartment_key, compartments)],
        partitions_def=plates,
        description="One row a cell: each cytoplasm with the features of its cell and nucleus and the plate, well, "
        "site and image files of its image (single_cells.parquet). Fails where rows are lost. A plate that has only "
        "images has none.",
        group_name=TABLE_GROUP,
        kinds={"parquet", "table"},
        code_version=CODE_VERSION,
        pool=CONVERT_POOL,
    )
    def single_cells(
        context: dg.AssetExecutionContext, lake: Lake, parsl_cluster: ParslCluster
    ) -> dg.MaterializeResult:
        plate = name_of(context.partition_key)
        folder = lake.of(plate)
        with step(context), folder.locked():
            plan = kept_plan(plate, folder, lake.options(chunks))
            if plan.base is None:
                forget_compartment(folder, JOINED)
                update_columns(plan, folder, place_of(folder), plan.results)
                return dg.MaterializeResult(
                    metadata=no_cells_metadata(plan),
                    data_version=dg.DataVersion(plan.fingerprint),
                    tags=newest_chunk_tags(context, *compartments),
                )
            facts = core.single_cells(plan, folder, parsl_cluster.runner)
            # Columns are mapped while the page is drawn.
            with ThreadPoolExecutor(1) as beside:
                mapped = beside.submit(update_columns, plan, folder, place_of(folder), (*plan.results, JOINED))
                pictures, wells = table_pictures(context.instance, plan, folder, place_of(folder), JOINED)
                mapped.result()
            return dg.MaterializeResult(
                metadata={
                    **single_cells_metadata(plan, folder, facts, plan_report(plan).matches, pictures, wells),
                    "pictures": dg.MetadataValue.md(
                        f"[cell_images](/assets/cell_images?view=partitions&partition={plate})"
                    ),
                },
                data_version=dg.DataVersion(core.result_version(plan, folder, JOINED)),
                tags=newest_chunk_tags(context, *compartments),
            )

    return single_cells
