"""Facts of a plate's files as sentences, each with whether it is as it should be; read from the files themselves and
from the report of their plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.lake.plans import plan_report
from cytotable_dagster.core.lake.results import result_facts
from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.model.types import SINGLE_CELLS as JOINED
from cytotable_dagster.core.parquet.parts import read_part
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.reports.matches import distinct_rows, key_names
from cytotable_dagster.core.reports.records import Match
from cytotable_dagster.core.steps.joined import base_compartment, left_out
from cytotable_dagster.defs.check_limits import Limits

# Columns whose coercions are told one by one; the asset's metadata tells of more.
_COLUMNS_TOLD = 20


@dataclass(frozen=True)
class Subject:
    """What a check is of: the file called `name` (`Cells`, `single_cells`) of a plate."""

    plan: Plan
    folder: PlateFolder
    name: str
    limits: Limits


@dataclass(frozen=True)
class Outcome:
    """Whether a check passes, the sentence that says why, and the figures in it."""

    passed: bool
    said: str
    facts: Mapping[str, int | float | str] = field(default_factory=dict)


def rows_reconciled(subject: Subject) -> Outcome:
    """Every row of the source table is there once: none lost, none added, none twice."""
    part = subject.plan.part(_keyed_by(subject))
    unmatched = left_out(subject.plan) if subject.name == JOINED else 0
    keys = key_names(subject.plan, _keyed_by(subject))
    with subject.folder.open(subject.name) as file:
        rows = read_part(subject.folder.address(subject.name), file).rows
    with subject.folder.open(subject.name) as file:
        repeated = rows - distinct_rows(file, keys)
    facts = {"rows": rows, "source rows": part.rows, "rows without a key of their own": repeated}
    left = f", but for {unmatched:,} that were left out as unmatched" if unmatched else ""
    if rows != part.rows - unmatched:
        return Outcome(False, f"{rows:,} rows, where table {part.table.name} gives {part.rows:,}{left}", facts)
    if repeated:
        said = f"{repeated:,} of {rows:,} rows share their key ({', '.join(keys)}) with another, or lack it"
        return Outcome(False, said, facts)
    said = f"{rows:,} rows, as table {part.table.name} has{left}; each has a key of its own ({', '.join(keys)})"
    return Outcome(True, said, facts)


def values_fit(subject: Subject) -> Outcome:
    """Every value is of its column's type; none became null or was rounded."""
    coercions = result_facts(subject.folder, subject.name).coercions
    values = sum(item.count for item in coercions)
    facts: dict[str, int | float | str] = {"columns": len(coercions), "values": values}
    if not coercions:
        return Outcome(True, f"every value of {subject.name} is of its column's type", facts)
    first = coercions[0]
    facts |= {item.column: f"{item.count:,} values, such as {item.example}" for item in coercions[:_COLUMNS_TOLD]}
    columns = "1 column" if len(coercions) == 1 else f"{len(coercions):,} columns"
    said = f"{values:,} values in {columns} are not of their type and became null or were rounded, such as "
    return Outcome(False, f"{said}{first.example} in {first.column}", facts)


def counts_agree(subject: Subject) -> Outcome:
    """What the image table counts (`Image_Count_Cells`) is the number of rows of each image."""
    counts = plan_report(subject.plan).image_counts
    facts: dict[str, int | float | str] = {}
    lines = []
    for found in counts:
        equal = not found.differing.count
        rest = (
            f"as many on each of {found.images:,} images"
            if equal
            else f"not as many on {found.differing.count:,} of {found.images:,} images{found.differing.such_as()}"
        )
        facts[found.column] = f"{found.said:,} counted, {found.rows:,} rows; {rest}"
        lines.append((equal, f"{found.column} counts {found.said:,}, there are {found.rows:,} rows; {rest}"))
    said = "; ".join(line for _, line in sorted(lines)) or "the image table has no counts of objects"
    return Outcome(all(equal for equal, _ in lines), said, facts)


def objects_matched(subject: Subject) -> Outcome:
    """Each row has its cell, nucleus and image, and each of these is in a row. A few may be left over, as where cells
    touch the border: up to CYTOTABLE_UNMATCHED_PERCENT and CYTOTABLE_LEFT_OVER_PERCENT."""
    report, base, limits = plan_report(subject.plan), base_compartment(subject.plan), subject.limits
    facts: dict[str, int | float | str] = {}
    lines = [(False, f"{compartment} is not joined: {reason}") for compartment, reason in report.unjoined]
    for match in report.matches:
        unmatched, left_over = _share(match, match.unmatched.count), _share_left_over(subject, match)
        facts[f"{match.compartment}: rows without, %"] = round(unmatched, 2)
        facts[f"{match.compartment}: in no row, %"] = round(left_over, 2)
        lines += _unmatched_lines(subject, base, match, unmatched <= limits.unmatched, left_over <= limits.left_over)
    if not lines:
        others = " and ".join(match.compartment for match in report.matches)
        return Outcome(True, f"each row of {base} has its {others}, and none of these is left over", facts)
    # What is not usual comes first.
    return Outcome(all(usual for usual, _ in lines), "; ".join(line for _, line in sorted(lines)), facts)


def _unmatched_lines(
    subject: Subject, base: str, match: Match, few_unmatched: bool, few_left_over: bool
) -> list[tuple[bool, str]]:
    other, rows = match.compartment, match.matched + match.unmatched.count
    total = _number_of(subject, match)
    lines = []
    if match.unmatched.count:
        what = f"{match.unmatched.count:,} of {rows:,} {_plural(base)} ({_percent(match.unmatched.count, rows)})"
        lines.append((few_unmatched, f"{what} have no {_singular(other)}{match.unmatched.such_as()}"))
    if match.left_over.count:
        what = f"{match.left_over.count:,} of {total:,} {_plural(other)} ({_percent(match.left_over.count, total)})"
        usual = "" if other == IMAGE or not few_left_over else "; usual where cells touch the border"
        lines.append((few_left_over, f"{what} have no {_singular(base)}{usual or match.left_over.such_as()}"))
    return lines


def _share(match: Match, count: int) -> float:
    rows = match.matched + match.unmatched.count
    return 100 * count / rows if rows else 0.0


def _share_left_over(subject: Subject, match: Match) -> float:
    return 100 * match.left_over.count / (_number_of(subject, match) or 1)


def _number_of(subject: Subject, match: Match) -> int:
    """Rows of a compartment's own table."""
    return subject.plan.part(match.compartment).rows


def _percent(count: int, of: int) -> str:
    share = 100 * count / of if of else 0.0
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %"


def _plural(compartment: str) -> str:
    return "images" if compartment == IMAGE else compartment.lower()


def _singular(compartment: str) -> str:
    """`cell`, `nucleus` where the compartment is called as CellProfiler calls its own."""
    return {"Cells": "cell", "Nuclei": "nucleus"}.get(compartment, compartment.lower())


def _keyed_by(subject: Subject) -> str:
    """The compartment whose rows and keys a file has."""
    return base_compartment(subject.plan) if subject.name == JOINED else subject.name
