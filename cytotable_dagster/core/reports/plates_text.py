"""Reports of several plates as text that fits a terminal: a line for each plate, and the first of their remarks."""

from collections.abc import Iterable, Sequence

from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.reports.records import ConversionReport
from cytotable_dagster.core.shown import counted
from cytotable_dagster.core.support.text_table import text_table

_HEADS = ("plate", "images", "rows read", "written", "unmatched", "left out", "coerced")
_REMARKS = 12


def plates_table(reports: Sequence[ConversionReport]) -> list[str]:
    """Each plate's counts, over all of its tables; of more than one plate, their sums. `unmatched` are rows of the base
    that lack a partner."""
    counts = {report.plate: _counts(report) for report in reports}
    if len(counts) > 1:
        counts["total"] = tuple(map(sum, zip(*counts.values(), strict=True)))
    return text_table(_HEADS, [(name, *(f"{count:,}" for count in some)) for name, some in counts.items()])


def remarks_of(reports: Iterable[ConversionReport]) -> list[str]:
    """What is remarked of plates, each line once, with the plate or the number of plates it is of; at most a few."""
    plates: dict[str, list[str]] = {}
    for report in reports:
        for line in report.remarks:
            plates.setdefault(line, []).append(report.plate)
    lines = [f"{of[0] if len(of) == 1 else counted(len(of), 'plate')}: {line}" for line, of in plates.items()]
    more = len(lines) - _REMARKS
    return lines if more <= 1 else [*lines[:_REMARKS], f"and {more:,} more lines in the report"]


def _counts(report: ConversionReport) -> tuple[int, ...]:
    parts = report.compartments
    written = sum(part.rows_written or 0 for part in parts) if report.joined_rows is None else report.joined_rows
    return (
        report.images,
        sum(part.rows_read for part in parts),
        written,
        sum(match.unmatched.count for match in report.matches if match.compartment != IMAGE),
        report.unmatched_rows + report.dropped_rows,
        sum(coercion.count for part in parts for coercion in part.coercions),
    )
