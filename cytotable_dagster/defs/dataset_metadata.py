"""What a dataset's materialization shows."""

import hashlib
from collections.abc import Sequence

import dagster as dg

from cytotable_dagster.core.datasets.members import Table
from cytotable_dagster.core.lake.follow import Update
from cytotable_dagster.core.shown import counted, human_bytes
from cytotable_dagster.core.sinks import Followed, list_tables
from cytotable_dagster.defs.metadata_values import (
    Metadata,
    as_lines,
    as_sentence,
    as_size,
    as_snippet,
    as_table,
    as_union_snippet,
    as_warehouse_snippet,
    preview_of,
)

_PLATES = 200


def dataset_metadata(update: Update, pictures: Metadata) -> Metadata:
    """A dataset's table: what is in it, of which plates and versions, and what this update did."""
    table = update.table
    members = [
        {
            "plate": member.plate,
            "rows": member.content.rows,
            "columns": len(member.content.columns),
            "size": human_bytes(member.size),
            "source": member.content.facts.get("source_uri"),
            "source version": member.content.facts.get("source_etag") or member.content.facts.get("source_digest"),
            "converted by": member.content.facts.get("version"),
        }
        for member in list(table.members.values())[:_PLATES]
    ]
    left = len(table.members) - len(members)
    differ = len({line.split(" plate ")[1].split(" ")[0] for line in update.drift.lines if " plate " in line})
    alike = f"{differ:,} of them differ in columns" if differ else "all with the same columns"
    return {
        "summary": as_sentence(
            f"{table.rows:,} rows of {counted(len(table.members), 'plate')}, {alike}; {human_bytes(table.size)}"
        ),
        **pictures,
        "read it": (as_union_snippet if differ else as_snippet)(table.dest.address(table.name)),
        **_preview_of(table),
        "dagster/row_count": table.rows,
        "plates": len(table.members),
        "columns": len(update.drift.columns),
        "size": as_size(table.size),
        "bytes": table.size,
        "path": dg.MetadataValue.path(table.dest.address(table.name)),
        "plates inside": as_table(members),
        **({"plates not shown": left} if left > 0 else {}),
        "added": _names(update.added),
        "replaced": _names(update.replaced),
        "removed": _names(update.removed),
        "schema drift": as_lines("drift", (*update.drift.problems, *update.drift.lines)),
        **({"left out": as_lines("plate", [": ".join(told) for told in update.left_out])} if update.left_out else {}),
    }


def warehouse_metadata(done: Followed) -> Metadata:
    """A warehouse: what is in it, and what this update did."""
    return {
        "summary": as_sentence(f"{done.rows:,} rows of {counted(done.plates, 'plate')}"),
        **({} if done.snapshot is None else {"read it": as_warehouse_snippet(done.root)}),
        "dagster/row_count": done.rows,
        "plates": done.plates,
        "columns": done.columns,
        "path": dg.MetadataValue.path(str(done.root)),
        "tables": ", ".join(list_tables(done.root)),
        **({} if done.snapshot is None else {"snapshot": str(done.snapshot)}),
        "added": _names(done.added),
        "replaced": _names(done.replaced),
        "removed": _names(done.removed),
        **({"left out": as_lines("plate", [": ".join(told) for told in done.left_out])} if done.left_out else {}),
        **({"objects without crops": dict(done.uncropped)} if done.uncropped else {}),
    }


def dataset_version(table: Table) -> str:
    """What tells a dataset's table from what it was: its plates and their files."""
    text = "\n".join(f"{plate} {member.fingerprint} {member.origin}" for plate, member in table.members.items())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _names(names: Sequence[str]) -> str:
    more = f", and {len(names) - _PLATES:,} more" if len(names) > _PLATES else ""
    return f"{', '.join(names[:_PLATES])}{more}" if names else "none"


def _preview_of(table: Table) -> Metadata:
    """First rows of a dataset's first plate."""
    import pyarrow.parquet as pq

    for plate in table.members:
        with table.dest.open(table.file_of(plate)) as opened, pq.ParquetFile(opened) as file:
            return preview_of(file)
    return {}
