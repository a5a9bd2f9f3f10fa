"""Single cells: the compartments of a plate joined, one row for each cytoplasm (or the preset's other base)."""

import dagster as dg

from cytotable_dagster.core.lake import results as core
from cytotable_dagster.core.lake.chunks import forget_compartment, kept_plan, plan_report
from cytotable_dagster.core.model.types import SINGLE_CELLS as JOINED
from cytotable_dagster.defs.assets.common import (
    CODE_VERSION,
    COMPARTMENTS,
    CONVERT_POOL,
    OWNERS,
    PLATE_SQLITE,
    SINGLE_CELLS,
    compartment_key,
)
from cytotable_dagster.defs.assets.faults import step
from cytotable_dagster.defs.metadata import no_cells_metadata, single_cells_metadata
from cytotable_dagster.defs.partitions import name_of, plates
from cytotable_dagster.defs.resources import Lake, ParslCluster


def single_cells_asset(chunks: int) -> dg.AssetsDefinition:
    @dg.asset(
        key=SINGLE_CELLS,
        deps=[PLATE_SQLITE, *map(compartment_key, COMPARTMENTS)],
        partitions_def=plates,
        description="single_cells.parquet: one row for each cytoplasm, with the features of its cell and nucleus and "
        "the plate, well, site and image files of its image. Fails where rows are lost. Images alone have none.",
        group_name="parquet",
        kinds={"parquet"},
        owners=OWNERS,
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
                return dg.MaterializeResult(
                    metadata=no_cells_metadata(plan), data_version=dg.DataVersion(plan.fingerprint)
                )
            facts = core.single_cells(plan, folder, parsl_cluster.runner) or core.result_facts(folder, JOINED)
            return dg.MaterializeResult(
                metadata={
                    **single_cells_metadata(plan, folder, facts, plan_report(plan).matches),
                    "pictures": dg.MetadataValue.md(
                        f"[cell_images](/assets/cell_images?view=partitions&partition={plate})"
                    ),
                },
                data_version=dg.DataVersion(core.result_version(plan, folder, JOINED)),
            )

    return single_cells
