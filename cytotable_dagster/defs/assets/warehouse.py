"""The single cells of all plates as a warehouse of Iceberg tables, for who asked for one."""

import dagster as dg

from cytotable_dagster.core.datasets.tables import (
    open_table,
)
from cytotable_dagster.core.model.types import SINGLE_CELLS as JOINED
from cytotable_dagster.core.sinks import Followed, follow_dataset
from cytotable_dagster.defs.assets.common import CODE_VERSION, DATASET_GROUP, dataset_key
from cytotable_dagster.defs.assets.faults import step
from cytotable_dagster.defs.dataset_metadata import warehouse_metadata
from cytotable_dagster.defs.resources import Dataset, Warehouse

# Plates left out of which a run's log tells; the asset's metadata tells of more.
_TOLD = 20


def warehouse_asset() -> dg.AssetsDefinition:
    @dg.asset(
        name="warehouse",
        deps=[dataset_key(JOINED)],
        group_name=DATASET_GROUP,
        kinds={"iceberg"},
        code_version=CODE_VERSION,
        description="The single cells of the dataset as the Iceberg table `profiles.joined_profiles`. Plates that are "
        "new or changed are put in, those that are gone are taken out, each in a snapshot of its own.",
    )
    def warehouse(
        context: dg.AssetExecutionContext, dataset: Dataset, warehouse_place: Warehouse
    ) -> dg.MaterializeResult:
        with step(context):
            done = follow_dataset(warehouse_place.root(), open_table(dataset.destination(), JOINED))
        for plate, reason in done.left_out[:_TOLD]:
            context.log.warning(f"plate {plate} was left out: {reason}")
        for plate, count in done.uncropped[:_TOLD]:
            context.log.warning(
                f"plate {plate}: {count:,} objects have no crop, as it has changed; make them by convert() with "
                "image_dir= and overwrite=True"
            )
        return dg.MaterializeResult(metadata=warehouse_metadata(done), data_version=_version(done))

    return warehouse


def _version(done: Followed) -> dg.DataVersion:
    return dg.DataVersion(str(done.snapshot or "empty"))
