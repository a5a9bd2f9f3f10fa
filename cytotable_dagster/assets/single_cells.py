"""Single cells: the compartments of a plate joined, one row for each cytoplasm (or the preset's other base)."""

import dagster as dg

from cytotable_dagster.assets.common import (
    CODE_VERSION,
    COMPARTMENTS,
    CONVERT_POOL,
    OWNERS,
    PLATE_SQLITE,
    SINGLE_CELLS,
    compartment_key,
    one_line_failures,
)
from cytotable_dagster.core import lake as core
from cytotable_dagster.core.plan import Options
from cytotable_dagster.metadata import single_cells_metadata
from cytotable_dagster.partitions import plates
from cytotable_dagster.resources import Lake, ParslCluster


def single_cells_asset(chunks: int) -> dg.AssetsDefinition:
    @dg.asset(
        key=SINGLE_CELLS,
        deps=[PLATE_SQLITE, *map(compartment_key, COMPARTMENTS)],
        partitions_def=plates,
        description="single_cells.parquet: one row for each cytoplasm, with the features of its cell and nucleus and "
        "the plate, well, site and image files of its image. Fails where rows are lost.",
        group_name="parquet",
        kinds={"parquet"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        pool=CONVERT_POOL,
    )
    def single_cells(
        context: dg.AssetExecutionContext, lake: Lake, parsl_cluster: ParslCluster
    ) -> dg.MaterializeResult:
        plate = context.partition_key
        folder = lake.of(plate)
        path = folder.result(core.SINGLE_CELLS)
        with one_line_failures(context), folder.locked():
            plan = core.kept_plan(plate, folder, Options(chunks=chunks))
            facts = core.single_cells(plan, folder, parsl_cluster.runner) or core.facts_of(path)
            return dg.MaterializeResult(
                metadata=single_cells_metadata(plan, facts, core.plan_report(plan).matches),
                data_version=dg.DataVersion(core.version_of(plan, path)),
            )

    return single_cells
