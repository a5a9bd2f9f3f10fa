"""What a materialization shows: facts of core as Dagster metadata."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from cytotable_dagster.core.datasets.tables import Table
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.lake.follow import Update
from cytotable_dagster.core.model.coercions import merged
from cytotable_dagster.core.model.types import SINGLE_CELLS, Coercion, FileFacts, Source
from cytotable_dagster.core.planning.plan import Plan, TablePlan
from cytotable_dagster.core.reports.records import ConversionReport, Found, Match
from cytotable_dagster.core.steps.join import joined_columns

Metadata = dict[str, Any]

# The page draws every row of a schema: 400 settle in 4 seconds, 4,000 in 16.
_SCHEMA_COLUMNS = 400
_REPORT_LINES = 100
_PLATES = 200
_PREVIEW_ROWS = 5
_PREVIEW_COLUMNS = 10


def source_metadata(source: Source) -> Metadata:
    """Where a plate came from."""
    address = dg.MetadataValue.path(source.uri) if source.etag is None else dg.MetadataValue.url(source.uri)
    found: Metadata = {"source": address, "etag": source.etag, "md5": source.md5}
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
            "rows without image": _count(parts[part.table.compartment].without_image),
            "images without rows": _count(parts[part.table.compartment].images_without),
            "columns widened": len(parts[part.table.compartment].widened),
            "read by": f"{part.reader} ({part.reason})" if part.reason else part.reader,
        }
        for part in plan.tables
    ]
    return {
        **source_metadata(plan.source),
        "bytes": plan.source.size,
        "local file": dg.MetadataValue.path(plan.source.path),
        "preset": plan.preset.name,
        "images": plan.images,
        "chunks": plan.chunk_count,
        "tables": _table(tables),
        "images without cells": report.without_cells.count,
        "mismatches": _lines("what does not match", report.mismatches),
        **(
            {"not joined": _lines("compartment", [": ".join(told) for told in report.unjoined])}
            if report.unjoined
            else {}
        ),
        **({"not converted": _unconverted(report)} if report.unconverted else {}),
        "notes": _lines("note", report.notes),
    }


def _unconverted(report: ConversionReport) -> dg.TableMetadataValue | str:
    """Tables of the source that nothing is made of."""
    shown = [
        {"table": table.name, "rows": table.rows, "why": table.reason, "what takes it": table.remedy}
        for table in report.unconverted[:_REPORT_LINES]
    ]
    return _table(shown)


def chunk_metadata(plan: Plan, compartment: str, facts: FileFacts) -> Metadata:
    """A chunk's file; short, for there are many."""
    return {
        **_file_metadata(facts),
        **source_metadata(plan.source),
        "source table": plan.part(compartment).table.name,
        **_coercions(facts.coercions),
    }


def compartment_metadata(plan: Plan, folder: PlateFolder, compartment: str, facts: FileFacts) -> Metadata:
    """A compartment's file: what is in it, and which source columns it came from."""
    part = plan.part(compartment)
    return {
        **_file_metadata(facts),
        **source_metadata(plan.source),
        "source table": part.table.name,
        "column families": _table(_families(part)),
        **_content(folder, compartment),
        **_coercions(facts.coercions),
    }


def single_cells_metadata(plan: Plan, folder: PlateFolder, facts: FileFacts, matches: Sequence[Match]) -> Metadata:
    """The joined table: what is in it, which compartments it came from and how well they matched."""
    origins = Counter((column.compartment, _family(column.name)) for column in joined_columns(plan))
    families = [
        {"family": family, "columns": count, "source table": plan.part(compartment).table.name}
        for (compartment, family), count in origins.items()
    ]
    counts = [
        {
            "compartment": match.compartment,
            "by": match.by or "its image",
            "matched rows": match.matched,
            "rows without": match.unmatched.count,
            "objects in no row": match.left_over.count,
        }
        for match in matches
    ]
    return {
        **_file_metadata(facts),
        **source_metadata(plan.source),
        "matches": _table(counts),
        "unmatched rows": sum(match.unmatched.count for match in matches),
        "column families": _table(families),
        **_content(folder, SINGLE_CELLS),
    }


def dataset_metadata(update: Update) -> Metadata:
    """A dataset's table: what is in it, of which plates and versions, and what this update did."""
    table = update.table
    members = [
        {
            "plate": member.plate,
            "rows": member.content.rows,
            "columns": len(member.content.columns),
            "bytes": member.size,
            "source": member.content.facts.get("source_uri"),
            "source version": member.content.facts.get("source_etag") or member.content.facts.get("source_md5"),
            "converted by": member.content.facts.get("version"),
        }
        for member in list(table.members.values())[:_PLATES]
    ]
    left = len(table.members) - len(members)
    return {
        "dagster/row_count": table.rows,
        "plates": len(table.members),
        "columns": len(update.drift.columns),
        "bytes": table.size,
        "path": dg.MetadataValue.path(table.dest.address(table.name)),
        "plates inside": _table(members),
        **({"plates not shown": left} if left > 0 else {}),
        "added": _names(update.added),
        "replaced": _names(update.replaced),
        "removed": _names(update.removed),
        "schema drift": _lines("drift", update.drift.lines),
        **({"left out": _lines("plate", [": ".join(told) for told in update.left_out])} if update.left_out else {}),
    }


def dataset_version(table: Table) -> str:
    """What tells a dataset's table from what it was: its plates and their files."""
    text = "\n".join(f"{plate} {member.fingerprint} {member.origin}" for plate, member in table.members.items())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _names(names: Sequence[str]) -> str:
    more = f", and {len(names) - _PLATES:,} more" if len(names) > _PLATES else ""
    return f"{', '.join(names[:_PLATES])}{more}" if names else "none"


def absent_metadata(plan: Plan, compartment: str) -> Metadata:
    """For a compartment that the plate has no table of."""
    return {
        "dagster/row_count": 0,
        "note": f"{plan.source.plate} has no table {plan.preset.table_of(compartment)}, so there is no file; "
        f"it has {', '.join(part.table.name for part in plan.tables)}",
        **source_metadata(plan.source),
    }


def no_cells_metadata(plan: Plan) -> Metadata:
    """For the joined table of a plate of images only."""
    return {
        "dagster/row_count": 0,
        "note": f"{plan.source.plate} has no table of objects, so there are no single cells",
        **source_metadata(plan.source),
    }


def _file_metadata(facts: FileFacts) -> Metadata:
    return {
        "dagster/row_count": facts.rows,
        "columns": facts.columns,
        "bytes": facts.size,
        "seconds": round(facts.seconds, 3),
        "path": _where(facts.path),
    }


def _where(path: Path) -> dg.MetadataValue:
    """A file's path, or its address in a store."""
    return dg.MetadataValue.path(path) if isinstance(path, Path) else dg.MetadataValue.url(str(path))


def _content(folder: PlateFolder, name: str) -> Metadata:
    """Schema and first rows of a result."""
    import pyarrow.parquet as pq

    with folder.open(name) as opened, pq.ParquetFile(opened) as file:
        schema = file.schema_arrow
        columns = [dg.TableColumn(field.name, str(field.type)) for field in schema][:_SCHEMA_COLUMNS]
        names = schema.names[:_PREVIEW_COLUMNS]
        found = file.read_row_group(0, columns=names).slice(0, _PREVIEW_ROWS) if file.num_row_groups else None
    content: Metadata = {"dagster/column_schema": dg.TableSchema(columns)}
    if len(schema) > len(columns):
        content["schema shown"] = f"the first {len(columns)} of {len(schema):,} columns"
    if found is not None:
        content["preview"] = _table([{name: _shown(value) for name, value in row.items()} for row in found.to_pylist()])
    return content


def _shown(value: Any) -> str | int | float | None:
    """A value as a table of the page can hold it: JSON has no NaN."""
    if value is None or isinstance(value, int | str):
        return value
    if isinstance(value, float) and value - value == 0:
        return round(value, 6)
    return str(value)


def _families(part: TablePlan) -> list[dict[str, Any]]:
    """Columns of a compartment by family, with one of them as example of how names come about."""
    counts = Counter(_family(column.name) for column in part.columns)
    examples = {_family(column.name): column for column in reversed(part.columns)}
    return [
        {
            "family": family,
            "columns": count,
            "source table": part.table.name,
            "for example": f"{examples[family].source} -> {examples[family].name}",
        }
        for family, count in counts.items()
    ]


def _family(name: str) -> str:
    """`AreaShape` of `Cells_AreaShape_Area`, `Metadata` of `Metadata_Well`."""
    parts = name.split("_")
    return parts[0] if parts[0] == "Metadata" or len(parts) < 3 else parts[1]


def _coercions(coercions: Sequence[Coercion]) -> Metadata:
    if not coercions:
        return {}
    some_rounded = any(item.rounded for item in coercions)
    shown = [
        {
            "column": item.column,
            "values made null": item.count - item.rounded,
            **({"values rounded": item.rounded} if some_rounded else {}),
            "for example": item.example,
            "source table": item.table,
            "source column": item.source,
        }
        for item in merged(coercions)[:_SCHEMA_COLUMNS]
    ]
    return {"coercions": _table(shown)}


def _count(found: Found | None) -> int | None:
    return None if found is None else found.count


def _lines(head: str, lines: Sequence[str]) -> dg.TableMetadataValue | str:
    """Lines as a table of one column; a plate of thousands of files may have as many notes."""
    left = len(lines) - _REPORT_LINES
    more = [f"and {left:,} more"] if left > 0 else []
    return _table([{head: line} for line in (*lines[:_REPORT_LINES], *more)])


def _table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue | str:
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows]) if rows else "none"
