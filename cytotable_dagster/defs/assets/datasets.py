"""Datasets over all plates: a file for each plate in each table, brought up to the plates by what differs."""

from collections.abc import Iterator, Sequence

import dagster as dg

from cytotable_dagster.core.datasets.tables import (
    open_table,
)
from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.lake.follow import Behind, Update, behind, update_table
from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.model.types import SINGLE_CELLS as JOINED
from cytotable_dagster.core.pictures.drawing import png
from cytotable_dagster.core.pictures.plates import dataset_figure
from cytotable_dagster.core.shown import counted
from cytotable_dagster.core.support.machine_errors import errors_of_machine
from cytotable_dagster.defs.assets.common import (
    CODE_VERSION,
    COMPARTMENTS,
    DATASET_GROUP,
    compartment_key,
    dataset_key,
)
from cytotable_dagster.defs.assets.faults import passes, step
from cytotable_dagster.defs.dataset_metadata import dataset_metadata, dataset_version
from cytotable_dagster.defs.page_pictures import in_page
from cytotable_dagster.defs.plates import chosen_plates
from cytotable_dagster.defs.resources import Dataset, Lake
from cytotable_dagster.defs.run_log import in_run_log

# Plates left out of which a run's log tells; the asset's metadata tells of more.
_TOLD = 20
# Plates that a check's sentence names; its metadata names all.
_NAMED = 3


def dataset_assets(compartments: Sequence[str] = COMPARTMENTS) -> dg.AssetsDefinition:
    tables = _tables(compartments)
    specs = [
        dg.AssetSpec(
            dataset_key(table),
            deps=[asset],
            description=f"{table} of all plates: one Parquet dataset, `{table}/<plate>.parquet`, "
            "with Metadata_TableNumber for each plate. Plates that are new or changed are put in, those that are gone "
            "are taken out, others are not touched.",
            group_name=DATASET_GROUP,
            kinds={"parquet", "dataset"},
            code_version=CODE_VERSION,
            skippable=True,
        )
        for table, asset in tables.items()
    ]

    @dg.multi_asset(name="datasets", specs=specs, can_subset=True)
    def datasets(context: dg.AssetExecutionContext, lake: Lake, dataset: Dataset) -> Iterator[dg.MaterializeResult]:
        names = chosen_plates(context.instance, dataset.chosen())
        folders = lake.folders(names)
        failed: list[Exception] = []
        for table in tables:
            if dataset_key(table) not in context.selected_asset_keys:
                continue
            try:
                with in_run_log(context.log), errors_of_machine():
                    update = update_table(dataset.destination(), table, folders)
            except CytoTableError as error:
                # The other tables need not wait for this one.
                failed.append(error)
                continue
            for plate, reason in update.left_out[:_TOLD]:
                context.log.warning(f"{table}: plate {plate} was left out: {reason}")
            yield dg.MaterializeResult(
                asset_key=dataset_key(table),
                metadata=dataset_metadata(update, _pictures(context.instance, update)),
                data_version=dg.DataVersion(dataset_version(update.table)),
            )
        with step(context):
            if failed:
                raise min(failed, key=passes)

    return datasets


def _pictures(instance: dg.DagsterInstance, update: Update) -> dict[str, dg.MarkdownMetadataValue]:
    """The plates of a table side by side."""
    rows = {plate: member.content.rows for plate, member in update.table.members.items()}
    lacking = {drift.plate: len(drift.lacks) for drift in update.drift.plates}
    what = {JOINED: "cells", IMAGE: "images"}.get(update.table.name, update.table.name.lower())
    figure = dataset_figure(rows, lacking, what)
    if figure is None:
        return {}
    return {"plates side by side": in_page(instance, png(figure), f"{what} and columns by plate")}


def _tables(compartments: Sequence[str]) -> dict[str, dg.AssetKey]:
    """Table -> the asset of its plates' files."""
    return {name: compartment_key(name) for name in (*compartments, JOINED)}


def dataset_checks(compartments: Sequence[str] = COMPARTMENTS) -> dg.AssetChecksDefinition:
    tables = _tables(compartments)
    specs = [
        dg.AssetCheckSpec(
            "plates_current",
            asset=dataset_key(table),
            description="Every plate that is materialized is in the dataset, as it is now; and no other.",
        )
        for table in tables
    ]

    @dg.multi_asset_check(name="dataset_checks", specs=specs, can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext, lake: Lake, dataset: Dataset) -> Iterator[dg.AssetCheckResult]:
        folders = lake.folders(chosen_plates(context.instance, dataset.chosen()))
        for table in tables:
            key = dg.AssetCheckKey(dataset_key(table), "plates_current")
            if key not in context.selected_asset_check_keys:
                continue
            with step(context):
                there = open_table(dataset.destination(), table)
                found = behind(there, folders)
            yield dg.AssetCheckResult(
                asset_key=key.asset_key,
                check_name=key.name,
                passed=found.none,
                severity=dg.AssetCheckSeverity.WARN,
                description=_said(found, len(there.members)),
                metadata={
                    "not in it": ", ".join(found.missing) or "none",
                    "in it with an older version": ", ".join(found.older) or "none",
                    "in it, but gone": ", ".join(found.gone) or "none",
                },
            )

    return checks


def _said(found: Behind, plates: int) -> str:
    """How a dataset and its plates agree, in a sentence."""
    if found.none:
        return f"{counted(plates, 'plate')} in it, each as it is now"
    told = [
        f"{counted(len(names), 'plate')} {what} ({', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''})"
        for names, what in (
            (found.missing, "not in it"),
            (found.older, "in it with an older version"),
            (found.gone, "in it, but gone"),
        )
        if names
    ]
    return f"{'; '.join(told)}: materialize it to bring it up to them"
