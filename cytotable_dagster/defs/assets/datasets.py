"""Datasets over all plates: a file for each plate in each table, brought up to the plates by what differs."""

from collections.abc import Iterator

import dagster as dg

from cytotable_dagster.core.datasets.tables import open_table
from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.lake.chunks import table_number
from cytotable_dagster.core.lake.follow import behind, update_table
from cytotable_dagster.core.model.types import SINGLE_CELLS
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.support.machine_errors import errors_of_machine
from cytotable_dagster.defs.assets.common import (
    CODE_VERSION,
    COMPARTMENTS,
    OWNERS,
    compartment_key,
)
from cytotable_dagster.defs.assets.faults import passes, step
from cytotable_dagster.defs.metadata import dataset_metadata, dataset_version
from cytotable_dagster.defs.plates import chosen_plates
from cytotable_dagster.defs.resources import Dataset, Lake, PlateSource

# Table -> the asset of its plates' files.
TABLES = {name: compartment_key(name) for name in (*COMPARTMENTS, SINGLE_CELLS)}
# Plates left out of which a run's log tells; the asset's metadata tells of more.
_TOLD = 20


def dataset_key(table: str) -> dg.AssetKey:
    return dg.AssetKey(f"{table.lower()}_dataset")


def dataset_assets() -> dg.AssetsDefinition:
    specs = [
        dg.AssetSpec(
            dataset_key(table),
            deps=[asset],
            description=f"The {table} tables of all plates as one Parquet dataset, `{table}/<plate>.parquet`, "
            "with Metadata_TableNumber for each plate. Plates that are new or changed are put in, those that are gone "
            "are taken out, others are not touched.",
            group_name="datasets",
            kinds={"parquet"},
            owners=OWNERS,
            code_version=CODE_VERSION,
            skippable=True,
        )
        for table, asset in TABLES.items()
    ]

    @dg.multi_asset(name="datasets", specs=specs, can_subset=True)
    def datasets(
        context: dg.AssetExecutionContext, plate_files: PlateSource, lake: Lake, dataset: Dataset
    ) -> Iterator[dg.MaterializeResult]:
        names = chosen_plates(context.instance, dataset.chosen())
        folders = lake.folders(names)
        failed: list[Exception] = []
        in_vain: dict[str, Exception] = {}

        def number_of(plate: str, plan: Plan) -> int:
            if plate in in_vain:
                raise in_vain[plate]
            try:
                with errors_of_machine():
                    return table_number(plan, folders[plate], plate_files.cloud())
            except CytoTableError as error:
                # Asked for once, not for each table.
                in_vain[plate] = error
                raise

        for table in TABLES:
            if dataset_key(table) not in context.selected_asset_keys:
                continue
            try:
                with errors_of_machine():
                    update = update_table(dataset.destination(), table, folders, number_of)
            except CytoTableError as error:
                # The other tables need not wait for this one.
                failed.append(error)
                continue
            for plate, reason in update.left_out[:_TOLD]:
                context.log.warning(f"{table}: plate {plate} was left out: {reason}")
            yield dg.MaterializeResult(
                asset_key=dataset_key(table),
                metadata=dataset_metadata(update),
                data_version=dg.DataVersion(dataset_version(update.table)),
            )
        with step(context):
            if failed:
                raise min(failed, key=passes)

    return datasets


def dataset_checks() -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(
            "plates_current",
            asset=dataset_key(table),
            description="Every plate that is materialized is in the dataset, as it is now; and no other.",
        )
        for table in TABLES
    ]

    @dg.multi_asset_check(name="dataset_checks", specs=specs, can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext, lake: Lake, dataset: Dataset) -> Iterator[dg.AssetCheckResult]:
        folders = lake.folders(chosen_plates(context.instance, dataset.chosen()))
        for table in TABLES:
            key = dg.AssetCheckKey(dataset_key(table), "plates_current")
            if key not in context.selected_asset_check_keys:
                continue
            with step(context):
                found = behind(open_table(dataset.destination(), table), folders)
            yield dg.AssetCheckResult(
                asset_key=key.asset_key,
                check_name=key.name,
                passed=found.none,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={
                    "not in it": ", ".join(found.missing) or "none",
                    "in it with an older version": ", ".join(found.older) or "none",
                    "in it, but gone": ", ".join(found.gone) or "none",
                },
            )

    return checks
