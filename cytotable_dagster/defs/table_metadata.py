"""What the pages of a plate's tables and of their chunks show, as Dagster metadata."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from cytotable_dagster.core.about.columns import FILE as COLUMNS
from cytotable_dagster.core.about.columns import family_of
from cytotable_dagster.core.lake.chunk_wells import wells_of_chunk
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.model.coercions import merged
from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.model.types import SINGLE_CELLS, Coercion, FileFacts
from cytotable_dagster.core.planning.plan import Plan, TablePlan
from cytotable_dagster.core.reports.records import Match
from cytotable_dagster.core.shown import counted
from cytotable_dagster.core.steps.joined import joined_columns
from cytotable_dagster.defs.metadata_values import (
    Metadata,
    as_place,
    as_sentence,
    as_size,
    as_snippet,
    as_table,
    preview_of,
)
from cytotable_dagster.defs.plate_metadata import objects_of, source_metadata

_COERCED_COLUMNS = 400
# Wells of a chunk that are named in one line.
_WELLS_NAMED = 12


def chunk_metadata(plan: Plan, folder: PlateFolder, compartment: str, chunk: int, facts: FileFacts) -> Metadata:
    """A chunk's rows, of which images and wells they are, and the file that they are in, or will be; short, for there
    are many."""
    first, last = plan.batches[chunk][0], plan.batches[chunk][-1]
    ordinals = f"images {first + 1:,} to {last:,}" if last > first + 1 else f"image {last:,}"
    images = f"{ordinals} of {plan.images:,}" if last > first else "no image"
    wells = wells_of_chunk(plan, chunk)
    rows = f"{facts.rows:,} rows of " if compartment != IMAGE else ""
    return {
        "summary": as_sentence(
            f"{rows}{images}" + (f", in {counted(len(wells), 'well')}: {_shortened(wells)}" if wells else "")
        ),
        **({"wells": ", ".join(wells)} if len(wells) > _WELLS_NAMED else {}),
        **_file_metadata(replace(facts, path=folder.result(compartment))),
        **source_metadata(plan.source),
        "source table": plan.part(compartment).table.name,
        **_coercions(facts.coercions),
    }


def _shortened(wells: Sequence[str]) -> str:
    head = ", ".join(wells[:_WELLS_NAMED])
    return head if len(wells) <= _WELLS_NAMED else f"{head} ... {wells[-1]}"


def compartment_metadata(
    plan: Plan, folder: PlateFolder, compartment: str, facts: FileFacts, pictures: Metadata, wells: int = 0
) -> Metadata:
    """A compartment's file: what is in it, and which source columns it came from."""
    part = plan.part(compartment)
    what = compartment.lower()
    coerced = sum(item.count for item in facts.coercions)
    told = [f"{counted(coerced, 'value')} that did not fit"] if coerced else []
    return {
        "summary": _sentence(plan, facts, what, wells, told),
        **_begin(pictures),
        "read it": _snippet(folder, compartment),
        **source_metadata(plan.source),
        "source table": part.table.name,
        **_file_metadata(facts),
        **_map(folder),
        **({} if compartment == IMAGE else {f"{what} per image": round(facts.rows / max(plan.images, 1), 2)}),
        "values that did not fit": coerced,
        **_content(folder, compartment),
        **_rest(pictures),
        "column families": as_table(_families(part)),
        **_coercions(facts.coercions),
    }


def single_cells_metadata(
    plan: Plan, folder: PlateFolder, facts: FileFacts, matches: Sequence[Match], pictures: Metadata, wells: int = 0
) -> Metadata:
    """The joined table: what is in it, which compartments it came from and how well they matched."""
    origins = Counter((column.compartment, family_of(column.name)) for column in joined_columns(plan))
    families = [
        {"family": family, "columns": count, "source table": plan.part(compartment).table.name}
        for (compartment, family), count in origins.items()
    ]
    counts = [
        {
            "compartment": match.compartment,
            "by": match.by or "its image",
            "cells that have one": match.matched,
            "cells without one": match.unmatched.count,
            "left over, without a cell": match.left_over.count,
        }
        for match in matches
    ]
    base = (plan.base or "row").lower()
    told = [
        f"{objects_of(match.left_over.count, match.compartment.lower())} without {base}"
        for match in matches
        if match.left_over.count and match.compartment != IMAGE
    ]
    unmatched = max((match.unmatched.count for match in matches), default=0)
    return {
        "summary": _sentence(plan, facts, "cells", wells, told),
        **_begin(pictures),
        "read it": _snippet(folder, SINGLE_CELLS),
        **source_metadata(plan.source),
        **_file_metadata(facts),
        **_map(folder),
        "cells per image": round(facts.rows / max(plan.images, 1), 2),
        "cells that lack an object, %": round(100 * unmatched / max(facts.rows, 1), 2),
        "matches": as_table(counts),
        "unmatched rows": sum(match.unmatched.count for match in matches),
        **_content(folder, SINGLE_CELLS),
        **_rest(pictures),
        "column families": as_table(families),
    }


def _sentence(plan: Plan, facts: FileFacts, what: str, wells: int, more: Sequence[str]) -> dg.MarkdownMetadataValue:
    """What a page begins with."""
    images = f" in {counted(plan.images, 'image')}" if what != "image" else ""
    of_wells = f" of {counted(wells, 'well')}" if wells else ""
    said = f"{objects_of(facts.rows, what)}{images}{of_wells}"
    return as_sentence(", ".join([said, *more, f"put together in {facts.seconds:,.2f} s", f"from {plan.source.uri}"]))


def _begin(pictures: Metadata) -> Metadata:
    """The first picture, which stands at the top of a page."""
    return dict(list(pictures.items())[:1])


def _rest(pictures: Metadata) -> Metadata:
    return dict(list(pictures.items())[1:])


def _snippet(folder: PlateFolder, name: str) -> dg.MarkdownMetadataValue:
    return as_snippet(folder.address(name))


def _map(folder: PlateFolder) -> Metadata:
    """Where it is told from which source column each column comes."""
    address = f"{folder.address(SINGLE_CELLS).rpartition('/')[0]}/{COLUMNS}"
    return {"where each column comes from": as_place(Path(address) if folder.store is None else address)}


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
        "size": as_size(facts.size),
        "bytes": facts.size,
        **({"seconds": round(facts.seconds, 3)} if facts.seconds else {}),
        "path": as_place(facts.path),
    }


def _content(folder: PlateFolder, name: str) -> Metadata:
    """First rows of a result, and its columns that are no measurements: not as Dagster's schema of a table, which a
    page would begin with."""
    import pyarrow.parquet as pq

    with folder.open(name) as opened, pq.ParquetFile(opened) as file:
        schema = file.schema_arrow
        keys = [{"column": one.name, "type": str(one.type)} for one in schema if one.name.startswith("Metadata_")]
        preview = preview_of(file)
    return {**preview, "keys and metadata": as_table(keys)}


def _families(part: TablePlan) -> list[dict[str, Any]]:
    """Columns of a compartment by family, with one of them as example of how names come about."""
    counts = Counter(family_of(column.name) for column in part.columns)
    examples = {family_of(column.name): column for column in reversed(part.columns)}
    return [
        {
            "family": family,
            "columns": count,
            "source table": part.table.name,
            "for example": f"{examples[family].source} -> {examples[family].name}",
        }
        for family, count in counts.items()
    ]


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
        for item in merged(coercions)[:_COERCED_COLUMNS]
    ]
    return {"coercions": as_table(shown)}
