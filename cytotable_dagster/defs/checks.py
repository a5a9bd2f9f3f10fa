"""Asset checks: facts of a plate's files, read from the files themselves and from the report of their plan.

What would make the next asset wrong has failed the asset before; these show the facts, and `rows_reconciled` holds back
the single cells all the same. They are two steps of a run, for a step each would cost a run of a small plate more than
its conversion.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import dagster as dg

from cytotable_dagster.core.lake.chunks import kept_plan, plan_report
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.lake.results import result_facts
from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.model.types import SINGLE_CELLS as JOINED
from cytotable_dagster.core.parquet.writing import row_count
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.reports.matches import distinct_rows, key_names
from cytotable_dagster.core.steps.join import base_compartment, left_out
from cytotable_dagster.defs.assets.common import (
    COMPARTMENTS,
    CONVERT_POOL,
    SINGLE_CELLS,
    compartment_key,
)
from cytotable_dagster.defs.assets.faults import step
from cytotable_dagster.defs.partitions import name_of, plates
from cytotable_dagster.defs.resources import Lake

# Columns whose coercions a check tells; the asset's metadata tells of more.
_COLUMNS_TOLD = 20


@dataclass(frozen=True)
class Subject:
    """What a check is of: the file called `name` (`Cells`, `single_cells`) of a plate."""

    plan: Plan
    folder: PlateFolder
    name: str


# Whether a check passes, and the facts.
Outcome = tuple[bool, dict[str, int | str]]
Check = Callable[[Subject], Outcome]


def rows_reconciled(subject: Subject) -> Outcome:
    """The file has the rows of its source table, none lost, none added."""
    part = subject.plan.part(_keyed_by(subject))
    unmatched = left_out(subject.plan) if subject.name == JOINED else 0
    with subject.folder.open(subject.name) as file:
        rows = row_count(file)
    facts: dict[str, int | str] = {"rows": rows, "source rows": part.rows, "source table": part.table.name}
    return rows == part.rows - unmatched, facts | ({"left out as unmatched": unmatched} if unmatched else {})


def keys_unique(subject: Subject) -> Outcome:
    """No two rows share their key, and none lacks it."""
    keys = key_names(subject.plan, _keyed_by(subject))
    with subject.folder.open(subject.name) as file:
        rows = row_count(file)
    with subject.folder.open(subject.name) as file:
        distinct = distinct_rows(file, keys)
    return rows == distinct, {"rows": rows, "distinct keys": distinct, "key": ", ".join(keys)}


def values_fit(subject: Subject) -> Outcome:
    """No value became null because it is not of its column's type."""
    coercions = result_facts(subject.folder, subject.name).coercions
    facts: dict[str, int | str] = {"columns": len(coercions), "values": sum(item.count for item in coercions)}
    facts |= {item.column: f"{item.count} values, such as {item.example}" for item in coercions[:_COLUMNS_TOLD]}
    return not coercions, facts


def counts_agree(subject: Subject) -> Outcome:
    """What the image table counts (`Image_Count_Cells`) is the number of rows of each image."""
    counts = plan_report(subject.plan).image_counts
    facts: dict[str, int | str] = {
        found.column: f"{found.said:,} counted, {found.rows:,} rows, not equal on {found.differing.count} of "
        f"{found.images} images{found.differing.such_as()}"
        for found in counts
    }
    return not any(found.differing.count for found in counts), facts


def objects_matched(subject: Subject) -> Outcome:
    """Every row has its cell, nucleus and image, and every one of those is in a row."""
    report = plan_report(subject.plan)
    facts: dict[str, int | str] = {}
    for match in report.matches:
        facts[f"{match.compartment}: rows without"] = match.unmatched.count
        facts[f"{match.compartment}: in no row"] = match.left_over.count
    facts |= {f"{compartment}: not joined": reason for compartment, reason in report.unjoined}
    unmatched = any(match.unmatched.count or match.left_over.count for match in report.matches)
    return not (unmatched or report.unjoined), facts


# Check -> the files it is made of. Those of compartments and of the joined file are steps of their own: between them is
# the step that makes single cells.
_OF_COMPARTMENTS: Mapping[Check, tuple[str, ...]] = {
    rows_reconciled: COMPARTMENTS,
    keys_unique: COMPARTMENTS,
    values_fit: COMPARTMENTS,
    counts_agree: (IMAGE,),
}
_OF_SINGLE_CELLS: Mapping[Check, tuple[str, ...]] = {
    rows_reconciled: (JOINED,),
    keys_unique: (JOINED,),
    objects_matched: (JOINED,),
}
_BLOCKING = (rows_reconciled,)
# Facts of many a plate, and no errors of the conversion.
_WARNINGS = (values_fit, counts_agree, objects_matched)


def plate_checks(chunks: int) -> list[dg.AssetChecksDefinition]:
    """All checks of a plate's files."""
    return [
        _checks("compartment_checks", _OF_COMPARTMENTS, chunks),
        _checks("single_cells_checks", _OF_SINGLE_CELLS, chunks),
    ]


def _checks(name: str, wanted: Mapping[Check, tuple[str, ...]], chunks: int) -> dg.AssetChecksDefinition:
    subjects = {(_asset(file), check.__name__): (check, file) for check, files in wanted.items() for file in files}
    with warnings.catch_warnings():
        # Checks by partition are a preview in this Dagster, which every process would say of each.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        specs = [
            dg.AssetCheckSpec(
                title,
                asset=asset,
                description=check.__doc__,
                partitions_def=plates,
                blocking=check in _BLOCKING,
            )
            for (asset, title), (check, _) in subjects.items()
        ]

    @dg.multi_asset_check(name=name, specs=specs, can_subset=True, pool=CONVERT_POOL)
    def checks(context: dg.AssetCheckExecutionContext, lake: Lake) -> Iterator[dg.AssetCheckResult]:
        plate = name_of(context.partition_key)
        folder = lake.of(plate)
        with step(context):
            plan = kept_plan(plate, folder, lake.options(chunks))
            for key in sorted(context.selected_asset_check_keys):
                check, file = subjects[key.asset_key, key.name]
                yield _result(key, check, Subject(plan, folder, file))

    return checks


def _result(key: dg.AssetCheckKey, check: Check, subject: Subject) -> dg.AssetCheckResult:
    plan = subject.plan
    if subject.name in COMPARTMENTS and subject.name not in plan.compartments:
        return _passed(key, f"{plan.source.plate} has no table for {subject.name}")
    if subject.name == JOINED and plan.base is None:
        return _passed(key, f"{plan.source.plate} has no table of objects")
    passed, facts = check(subject)
    severity = dg.AssetCheckSeverity.WARN if check in _WARNINGS else dg.AssetCheckSeverity.ERROR
    return dg.AssetCheckResult(
        asset_key=key.asset_key, check_name=key.name, passed=passed, severity=severity, metadata=facts
    )


def _passed(key: dg.AssetCheckKey, note: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(asset_key=key.asset_key, check_name=key.name, passed=True, metadata={"note": note})


def _asset(name: str) -> dg.AssetKey:
    return SINGLE_CELLS if name == JOINED else compartment_key(name)


def _keyed_by(subject: Subject) -> str:
    """The compartment whose rows and keys a file has."""
    return base_compartment(subject.plan) if subject.name == JOINED else subject.name
