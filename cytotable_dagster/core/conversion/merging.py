"""Several plates converted to one file for each table, with the columns of all of them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cytotable_dagster.core.conversion.request import Request
from cytotable_dagster.core.conversion.several import Done, Ready, converted, drifts_of, plan_all
from cytotable_dagster.core.conversion.skipping import Skipping
from cytotable_dagster.core.conversion.tally import Tally
from cytotable_dagster.core.datasets.files import content_of
from cytotable_dagster.core.execution.runner import Runner
from cytotable_dagster.core.model.types import FileFacts, Plate
from cytotable_dagster.core.parquet.concat import Concatenation
from cytotable_dagster.core.parquet.refit import refit
from cytotable_dagster.core.parquet.writing import footer
from cytotable_dagster.core.planning.unify import Columns, columns_of, schema_of
from cytotable_dagster.core.reports.results import ConversionResult
from cytotable_dagster.core.storage.destination import Destination, Results
from cytotable_dagster.core.version import VERSION

# What the footer of a file of several plates tells of each.
_OF_A_PLATE = ("plate", "source_uri", "source_etag", "source_digest", "preset", "fingerprint")


def convert_to_files(
    plates: Sequence[Plate],
    names: Callable[[str], str],
    dest: Destination,
    results: Results,
    request: Request,
    run: Runner,
    scratch: Path,
    skipping: Skipping,
) -> ConversionResult:
    """Convert plates to one file for each table, with the columns of all of them.

    Args:
        names: the name of a table's file.
        results: of `dest`, where they appear together when all plates are done.
    """
    tally = Tally()
    ready = plan_all(plates, request, scratch, skipping)
    stream = converted(ready, request, run, scratch, skipping)
    if request.joins is not None:
        # What columns a query gives is known when it was asked of every plate.
        stream = iter(ended := list(stream))
        ready = [_with_columns(done) for done in ended]
    drifts = drifts_of(ready, request)
    outs = {drift.table: results.create(names(drift.table)) for drift in drifts}
    files = {table: Concatenation(out) for table, out in outs.items()}
    facts = []
    for done in stream:
        for drift in drifts:
            if drift.table in done.files:
                files[drift.table].append(_fitted(done.files[drift.table].path, drift.columns))
        done.remove()
        tally.add(done)
        facts.append({name: done.facts[name] for name in _OF_A_PLATE if name in done.facts})
    for table, file in files.items():
        file.finish(_footer(table, tally.rows[table], facts))
    outputs = {
        drift.table: FileFacts(
            path=dest.path(names(drift.table)),
            rows=tally.rows[drift.table],
            columns=len(drift.columns),
            size=outs[drift.table].tell(),
            seconds=tally.seconds.get(drift.table, 0.0),
        )
        for drift in drifts
    }
    return tally.result(outputs, drifts, ready, skipping)


def _footer(table: str, rows: int, plates: Sequence[Mapping[str, str]]) -> dict[str, str]:
    entries = {"version": VERSION, "compartment": table, "rows": str(rows)}
    return footer({**entries, "plates": json.dumps(plates, separators=(",", ":"))})


def _with_columns(done: Done) -> Ready:
    """A plate that is converted, with the columns of its files."""
    return replace(done.plate, columns={table: content_of(made.path).columns for table, made in done.files.items()})


def _fitted(path: Path, columns: Columns) -> Path:
    """A file with these columns: the same, or a copy beside it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if columns_of(pq.read_schema(path)) == columns:
        return path
    fitted = path.with_name(f"fitted_{path.name}")
    with pa.OSFile(str(path)) as source, fitted.open("wb") as out:
        refit(source, schema_of(columns), {}, out, path.parent)
    return fitted
