"""Asset checks: facts of a plate's files, read from the files themselves.

What would make the next asset wrong has failed the asset before; these show the facts. They are one step of a run, for
a step each would cost a run of a small plate more than its conversion.
"""

import warnings
from collections.abc import Callable, Iterator

import dagster as dg

from cytotable_dagster.assets.common import COMPARTMENTS, CONVERT_POOL, SINGLE_CELLS, compartment_key, one_line_failures
from cytotable_dagster.core.lake import PlateFolder, kept_plan
from cytotable_dagster.core.matches import distinct_rows, key_names, matches
from cytotable_dagster.core.parquet import row_count
from cytotable_dagster.core.plan import Options, Plan
from cytotable_dagster.core.single_cells import base_compartment
from cytotable_dagster.core.work import SINGLE_CELLS as JOINED
from cytotable_dagster.partitions import plates
from cytotable_dagster.resources import Lake

# What a check finds in the file of this name (`Cells`, `single_cells`): whether it passes, and the facts.
Check = Callable[[Plan, PlateFolder, str], tuple[bool, dict[str, int | str]]]


def rows_reconciled(plan: Plan, folder: PlateFolder, name: str) -> tuple[bool, dict[str, int | str]]:
    """The file has the rows of its source table, none lost, none added."""
    part = plan.part(_keyed_by(plan, name))
    rows = row_count(folder.result(name))
    return rows == part.rows, {"rows": rows, "source rows": part.rows, "source table": part.table.name}


def keys_unique(plan: Plan, folder: PlateFolder, name: str) -> tuple[bool, dict[str, int | str]]:
    """No two rows share their key, and none lacks it."""
    path, keys = folder.result(name), key_names(plan, _keyed_by(plan, name))
    rows, distinct = row_count(path), distinct_rows(path, keys)
    return rows == distinct, {"rows": rows, "distinct keys": distinct, "key": ", ".join(keys)}


def objects_matched(plan: Plan, folder: PlateFolder, name: str) -> tuple[bool, dict[str, int | str]]:
    """Every row has its cell, nucleus and image, and every one of those is in a row."""
    found = matches(plan)
    facts: dict[str, int | str] = {}
    for match in found:
        facts[f"{match.compartment}: rows without"] = match.unmatched.count
        facts[f"{match.compartment}: in no row"] = match.left_over.count
    return not any(match.unmatched.count or match.left_over.count for match in found), facts


# Check -> the files it is made of. Unmatched objects are a fact of many a plate, and no error of the conversion.
_CHECKS: dict[Check, tuple[str, ...]] = {
    rows_reconciled: (*COMPARTMENTS, JOINED),
    keys_unique: (*COMPARTMENTS, JOINED),
    objects_matched: (JOINED,),
}
_WARNINGS = (objects_matched,)


def plate_checks(chunks: int) -> dg.AssetChecksDefinition:
    """All checks of a plate's files."""
    subjects = {(_asset(name), check.__name__): (check, name) for check, names in _CHECKS.items() for name in names}
    with warnings.catch_warnings():
        # Checks by partition are a preview in this Dagster, which every process would say eleven times.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        specs = [
            dg.AssetCheckSpec(title, asset=asset, description=check.__doc__, partitions_def=plates)
            for (asset, title), (check, _) in subjects.items()
        ]

    @dg.multi_asset_check(name="plate_checks", specs=specs, can_subset=True, pool=CONVERT_POOL)
    def checks(context: dg.AssetCheckExecutionContext, lake: Lake) -> Iterator[dg.AssetCheckResult]:
        plate = context.partition_key
        folder = lake.of(plate)
        with one_line_failures():
            plan = kept_plan(plate, folder, Options(chunks=chunks))
            for key in sorted(context.selected_asset_check_keys):
                check, name = subjects[key.asset_key, key.name]
                yield _result(key, check, plan, folder, name)

    return checks


def _result(key: dg.AssetCheckKey, check: Check, plan: Plan, folder: PlateFolder, name: str) -> dg.AssetCheckResult:
    if name in COMPARTMENTS and name not in plan.compartments:
        note = f"{plan.source.plate} has no table for {name}"
        return dg.AssetCheckResult(asset_key=key.asset_key, check_name=key.name, passed=True, metadata={"note": note})
    passed, facts = check(plan, folder, name)
    severity = dg.AssetCheckSeverity.WARN if check in _WARNINGS else dg.AssetCheckSeverity.ERROR
    return dg.AssetCheckResult(
        asset_key=key.asset_key, check_name=key.name, passed=passed, severity=severity, metadata=facts
    )


def _asset(name: str) -> dg.AssetKey:
    return SINGLE_CELLS if name == JOINED else compartment_key(name)


def _keyed_by(plan: Plan, name: str) -> str:
    """The compartment whose rows and keys a file has."""
    return base_compartment(plan) if name == JOINED else name
