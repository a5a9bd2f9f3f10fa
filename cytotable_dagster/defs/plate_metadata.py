"""What the page of a plate that was looked through shows, as Dagster metadata, and what every page tells
of its source."""

import dagster as dg

from cytotable_dagster.core.model.types import Source
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.reports.records import ConversionReport, Found
from cytotable_dagster.core.shown import counted, human_bytes
from cytotable_dagster.defs.metadata_values import (
    REPORT_LINES,
    Metadata,
    as_lines,
    as_sentence,
    as_size,
    as_table,
)
from cytotable_dagster.defs.words import in_dagster

_ONE = {"cells": "cell", "nuclei": "nucleus"}


def source_metadata(source: Source) -> Metadata:
    """Where a plate came from."""
    address = dg.MetadataValue.path(source.uri) if source.etag is None else dg.MetadataValue.url(source.uri)
    found: Metadata = {"source": address, "etag": source.etag, "digest": source.digest}
    return {name: value for name, value in found.items() if value is not None}


def plan_metadata(plan: Plan, report: ConversionReport) -> Metadata:
    """What was found in a plate, what does not match in it, and how it will be converted."""
    parts = {part.compartment: part for part in report.compartments}
    tables = [
        {
            "table": part.table.name,
            "compartment": part.table.compartment,
            "rows": part.rows,
            "columns": len(part.columns),
            "rows of no image": _count(parts[part.table.compartment].without_image),
            "images without a row": _count(parts[part.table.compartment].images_without),
            "columns declared as whole numbers that hold decimals": len(parts[part.table.compartment].widened),
            "how it is read": f"from a copy: {part.reason}" if part.reason else "straight from the file",
        }
        for part in plan.tables
    ]
    rows = ", ".join(objects_of(part.rows, part.table.compartment.lower()) for part in plan.tables)
    return {
        "summary": as_sentence(
            f"{human_bytes(plan.source.size)} with {rows}; to be converted in {counted(plan.chunk_count, 'chunk')}; "
            f"from {plan.source.uri}"
        ),
        **source_metadata(plan.source),
        "size": as_size(plan.source.size),
        "bytes": plan.source.size,
        "local file": dg.MetadataValue.path(plan.source.path),
        "preset": plan.preset.name,
        "images": plan.images,
        "chunks": plan.chunk_count,
        "tables": as_table(tables),
        "images without cells": report.without_cells.count,
        "mismatches": as_lines("what does not match", report.mismatches),
        **(
            {"not joined": as_lines("compartment", [": ".join(told) for told in report.unjoined])}
            if report.unjoined
            else {}
        ),
        **({"not converted": _unconverted(report)} if report.unconverted else {}),
        "notes": as_lines("note", report.notes),
    }


def _unconverted(report: ConversionReport) -> dg.TableMetadataValue | str:
    """Tables of the source that nothing is made of."""
    shown = [
        {"table": table.name, "rows": table.rows, "why": table.reason, "what takes it": in_dagster(table.remedy)}
        for table in report.unconverted[:REPORT_LINES]
    ]
    return as_table(shown)


def objects_of(count: int, what: str) -> str:
    """`1 nucleus`, `2 images`; tables are called after several of what they hold, but for that of images."""
    if what == "image":
        return counted(count, what)
    return f"1 {_ONE[what]}" if count == 1 and what in _ONE else f"{count:,} {what}"


def _count(found: Found | None) -> int | None:
    return None if found is None else found.count
