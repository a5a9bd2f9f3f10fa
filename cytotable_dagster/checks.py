"""Asset checks: facts of the files of a plate, read from the files themselves.

What would make the next asset wrong has failed the asset before; these show the facts.
"""

import warnings

import dagster as dg

from cytotable_dagster.assets.common import COMPARTMENTS, SINGLE_CELLS, compartment_key
from cytotable_dagster.core.lake import PlateFolder, kept_plan
from cytotable_dagster.core.matches import distinct_rows, key_names, matches
from cytotable_dagster.core.parquet import row_count
from cytotable_dagster.core.plan import Options, Plan
from cytotable_dagster.core.single_cells import base_compartment
from cytotable_dagster.core.work import SINGLE_CELLS as JOINED
from cytotable_dagster.partitions import plates
from cytotable_dagster.resources import Lake


def plate_checks(chunks: int) -> list[dg.AssetChecksDefinition]:
    """Rows and keys of each file, matches of the joined one."""
    names = (*COMPARTMENTS, JOINED)
    with warnings.catch_warnings():
        # Checks by partition are a preview in this Dagster, which every process would say eleven times.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            *(_rows_reconciled(name, chunks) for name in names),
            *(_keys_unique(name, chunks) for name in names),
            _objects_matched(chunks),
        ]


def _rows_reconciled(name: str, chunks: int) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=_asset(name),
        name="rows_reconciled",
        description="The file has the rows of its source table, none lost, none added.",
        partitions_def=plates,
    )
    def check(context: dg.AssetCheckExecutionContext, lake: Lake) -> dg.AssetCheckResult:
        folder, plan = _plate(context, lake, chunks)
        compartment = _keyed_by(plan, name)
        if compartment is None:
            return _no_table(plan, name)
        rows, expected = row_count(folder.result(name)), plan.part(compartment).rows
        return dg.AssetCheckResult(
            passed=rows == expected,
            metadata={"rows": rows, "source rows": expected, "source table": plan.part(compartment).table.name},
        )

    return check


def _keys_unique(name: str, chunks: int) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=_asset(name),
        name="keys_unique",
        description="No two rows share their key, and none lacks it.",
        partitions_def=plates,
    )
    def check(context: dg.AssetCheckExecutionContext, lake: Lake) -> dg.AssetCheckResult:
        folder, plan = _plate(context, lake, chunks)
        compartment = _keyed_by(plan, name)
        if compartment is None:
            return _no_table(plan, name)
        path, keys = folder.result(name), key_names(plan, compartment)
        rows, distinct = row_count(path), distinct_rows(path, keys)
        return dg.AssetCheckResult(
            passed=rows == distinct, metadata={"rows": rows, "distinct keys": distinct, "key": ", ".join(keys)}
        )

    return check


def _objects_matched(chunks: int) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=SINGLE_CELLS,
        name="objects_matched",
        description="Every row has its cell, nucleus and image, and every object is in a row.",
        partitions_def=plates,
    )
    def check(context: dg.AssetCheckExecutionContext, lake: Lake) -> dg.AssetCheckResult:
        folder, plan = _plate(context, lake, chunks)
        found = matches(plan, folder.result(JOINED))
        return dg.AssetCheckResult(
            passed=not any(match.unmatched or match.left_over for match in found),
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                f"{match.compartment}: {what}": count
                for match in found
                for what, count in (("rows without", match.unmatched), ("objects in no row", match.left_over))
            },
        )

    return check


def _asset(name: str) -> dg.AssetKey:
    return SINGLE_CELLS if name == JOINED else compartment_key(name)


def _plate(context: dg.AssetCheckExecutionContext, lake: Lake, chunks: int) -> tuple[PlateFolder, Plan]:
    plate = context.partition_key
    folder = lake.of(plate)
    return folder, kept_plan(plate, folder, Options(chunks=chunks))


def _keyed_by(plan: Plan, name: str) -> str | None:
    """The compartment whose rows and keys a file has; None where the plate has no such table."""
    if name == JOINED:
        return base_compartment(plan)
    return name if name in plan.compartments else None


def _no_table(plan: Plan, name: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True, metadata={"note": f"{plan.source.plate} has no table for {name}"})
