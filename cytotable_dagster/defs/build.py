"""The one place that knows every asset, check, job, sensor, schedule and resource."""

from collections.abc import Mapping

import dagster as dg

from cytotable_dagster.defs.assets.compartments import chunk_assets, compartment_assets
from cytotable_dagster.defs.assets.datasets import dataset_assets, dataset_checks
from cytotable_dagster.defs.assets.images import cell_images_asset, image_provenance_asset
from cytotable_dagster.defs.assets.single_cells import single_cells_asset
from cytotable_dagster.defs.assets.source import plate_source, plate_sqlite_asset
from cytotable_dagster.defs.assets.warehouse import warehouse_asset
from cytotable_dagster.defs.build_settings import (
    chunks_per_plate,
    compartments_of_plates,
    has_warehouse,
    owners_of_assets,
)
from cytotable_dagster.defs.check_limits import CheckLimits
from cytotable_dagster.defs.checks import plate_checks
from cytotable_dagster.defs.cluster import ParslCluster
from cytotable_dagster.defs.image_files import ImageFiles
from cytotable_dagster.defs.jobs import build_datasets, convert_chunks, convert_plate, find_images
from cytotable_dagster.defs.lost_runs import lost_runs_sensor
from cytotable_dagster.defs.notices import (
    batch_done_notice,
    datasets_failed_notice,
    plate_failed_notice,
    queue_notice,
    refused_notice,
)
from cytotable_dagster.defs.resources import Dataset, Lake, PlateSource, Warehouse, Webhook
from cytotable_dagster.defs.schedules import nightly_schedule
from cytotable_dagster.defs.sensors import datasets_sensor, images_sensor, new_plates_sensor
from cytotable_dagster.defs.upload_check import uploads_accepted_check


def build_defs(
    *,
    resources: Mapping[str, dg.ConfigurableResource] | None = None,
    chunks: int | None = None,
    warehouse: bool | None = None,
) -> dg.Definitions:
    """All definitions.

    Args:
        resources: in place of those that look into the environment, by name.
        chunks: chunks of a plate; None is `CYTOTABLE_CHUNKS_PER_PLATE`.
        warehouse: whether there is one; None is whether `CYTOTABLE_WAREHOUSE` names a place.
    """
    number = chunks or chunks_per_plate()
    with_warehouse = has_warehouse() if warehouse is None else warehouse
    tables, owners = compartments_of_plates(), owners_of_assets()
    return dg.Definitions(
        assets=dg.map_asset_specs(
            lambda spec: spec.replace_attributes(owners=owners),
            [
                plate_source,
                plate_sqlite_asset(number),
                chunk_assets(number, tables),
                compartment_assets(number, tables),
                single_cells_asset(number, tables),
                image_provenance_asset(number),
                cell_images_asset(number),
                dataset_assets(tables),
                *([warehouse_asset()] if with_warehouse else []),
            ],
        ),
        asset_checks=[uploads_accepted_check(), *plate_checks(number, tables), dataset_checks(tables)],
        jobs=[convert_plate, convert_chunks, find_images, build_datasets],
        sensors=[
            new_plates_sensor(),
            images_sensor(),
            datasets_sensor(),
            lost_runs_sensor(),
            plate_failed_notice(),
            refused_notice(),
            batch_done_notice(),
            datasets_failed_notice(),
            queue_notice(),
        ],
        schedules=[nightly_schedule()],
        resources={
            "plate_files": PlateSource(),
            "lake": Lake(),
            "image_files": ImageFiles(),
            "dataset": Dataset(),
            "warehouse_place": Warehouse(),
            "check_limits": CheckLimits(),
            "parsl_cluster": ParslCluster(),
            "webhook": Webhook(),
            **(resources or {}),
        },
        # Steps are parallel inside, by Parsl; a process for each would cost seconds.
        executor=dg.in_process_executor,
    )
