"""How facts stand on a page: tables, lines, sizes, addresses, what to copy, first rows."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from cytotable_dagster.core.model.names import PLATE, SITE, WELL
from cytotable_dagster.core.shown import human_bytes
from cytotable_dagster.defs.words import in_dagster

Metadata = dict[str, Any]

# Lines of a table of lines; what is more is counted.
REPORT_LINES = 100
_PREVIEW_ROWS = 5
# Measurements that a preview shows behind the keys: those that are told apart at a glance first.
_PREVIEW_MEASUREMENTS = 4
_PREVIEWED = ("_AreaShape_Area", "_MeanIntensity_", "_AreaShape_Eccentricity")
# Letters of a line that the page of an asset shows whole, in a window of 1,440 pixels.
_LINE = 58
_KEYS = (PLATE, WELL, SITE, "Metadata_TableNumber", "Metadata_ImageNumber", "Metadata_ObjectNumber")


def as_table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue | str:
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows]) if rows else "none"


def as_lines(head: str, lines: Sequence[str]) -> dg.TableMetadataValue | str:
    """Lines as a table of one column; a plate of thousands of files may have as many notes."""
    left = len(lines) - REPORT_LINES
    more = [f"and {left:,} more"] if left > 0 else []
    return as_table([{head: in_dagster(line)} for line in (*lines[:REPORT_LINES], *more)])


def as_size(count: int) -> str:
    return f"{human_bytes(count)} ({count:,} bytes)" if count >= 1000 else f"{count} bytes"


def as_place(path: Path | str) -> dg.MetadataValue:
    """A file's path, or its address in a store."""
    return dg.MetadataValue.path(path) if isinstance(path, Path) else dg.MetadataValue.url(str(path))


def as_sentence(text: str) -> dg.MarkdownMetadataValue:
    """A sentence in lines that a page shows whole; addresses are broken behind a `/`."""
    # What Markdown would take for its own.
    lines = (re.sub(r"([\\`*\[\]<>])", r"\\\1", line) for line in _lines(text, _LINE))
    return dg.MetadataValue.md("  \n".join(lines))


def as_warehouse_snippet(root: Path) -> dg.MarkdownMetadataValue:
    """Python to copy that reads the single cells of a warehouse, without anything of ours."""
    parts = "".join(f'    "{part}"\n' for part in _lines(f"sqlite:///{root}/catalog.db", _LINE - 6)).lstrip()
    return dg.MetadataValue.md(
        "```python\nfrom pyiceberg.catalog.sql import SqlCatalog\n\ncatalog = SqlCatalog(\n"
        f'    "cytotable",\n    uri={parts.rstrip()},\n)\n'
        'table = catalog.load_table("profiles.joined_profiles")\ntable.scan().to_pandas()\n```'
    )


def as_snippet(address: str) -> dg.MarkdownMetadataValue:
    """Python to copy that reads a table; an address that is too long for a line stands in several."""
    parts = _lines(address, _LINE - 6)
    inside = f'"{address}"' if len(address) < _LINE - 20 else "\n" + "".join(f'    "{part}"\n' for part in parts)
    return dg.MetadataValue.md(f"```python\nimport pandas as pd\n\npd.read_parquet({inside})\n```")


def as_union_snippet(address: str) -> dg.MarkdownMetadataValue:
    """The same for a folder of files whose columns differ: pandas would pass over those that its first file lacks."""
    inside = "".join(f'    "{part}"\n' for part in _lines(f"{address}/*.parquet", _LINE - 6)).removesuffix("\n")
    return dg.MetadataValue.md(
        f"```python\nimport duckdb\n\nduckdb.read_parquet(\n{inside},\n    union_by_name=True,\n).df()\n```"
    )


def _lines(text: str, width: int) -> list[str]:
    """Text in lines of a width at most, broken at spaces, else behind a `/`, else anywhere."""
    lines = [""]
    for part in re.findall(rf"[^ /]{{1,{width - 1}}}[ /]*|[ /]+", text):
        if len(lines[-1]) + len(part.rstrip(" ")) > width:
            lines.append("")
        lines[-1] += part
    return lines


def preview_of(file: Any) -> Metadata:
    """First rows of a Parquet file, their keys and a few measurements."""
    schema = file.schema_arrow
    keys = [name for name in _KEYS if name in schema.names]
    measured = [name for name in schema.names if not name.startswith("Metadata_")]
    best = [name for part in _PREVIEWED for name in measured if part in name]
    names = [*keys, *list(dict.fromkeys([*best, *measured]))[:_PREVIEW_MEASUREMENTS]]
    if not file.num_row_groups or not names:
        return {}
    found = file.read_row_group(0, columns=names).slice(0, _PREVIEW_ROWS).select(names)
    return {"preview": as_table([{name: _shown(value) for name, value in row.items()} for row in found.to_pylist()])}


def _shown(value: Any) -> str | int | float | None:
    """A value as a table of the page can hold it: JSON has no NaN."""
    if value is None or isinstance(value, int | str):
        return value
    if isinstance(value, float) and value - value == 0:
        return round(value, 6)
    return str(value)
