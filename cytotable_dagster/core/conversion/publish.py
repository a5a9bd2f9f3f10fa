"""What becomes of several plates: a file for each table over all of them, or a dataset that grows plate by plate."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cytotable_dagster.core.conversion.request import Request
from cytotable_dagster.core.conversion.several import Done, Ready, converted, drifts_of, plan_all, report_of
from cytotable_dagster.core.conversion.skipping import Skipping
from cytotable_dagster.core.datasets.files import Content, content_of, table_names
from cytotable_dagster.core.datasets.tables import (
    Table,
    column_is_empty,
    drop_plate,
    fit_plates,
    flatten,
    open_table,
    put_plate,
    retyped,
    save_index,
)
from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.execution.runner import Runner
from cytotable_dagster.core.model.plate_names import safe_name
from cytotable_dagster.core.model.types import SINGLE_CELLS, FileFacts, Plate, Source
from cytotable_dagster.core.parquet.concat import Concatenation
from cytotable_dagster.core.parquet.refit import refit
from cytotable_dagster.core.parquet.writing import footer
from cytotable_dagster.core.planning.unify import Columns, Drift, columns_of, schema_of
from cytotable_dagster.core.reports.results import ConversionResult
from cytotable_dagster.core.storage.destination import Claim, Destination, Results
from cytotable_dagster.core.version import VERSION

# What the footer of a file of several plates tells of each.
_OF_A_PLATE = ("plate", "source_uri", "source_etag", "source_md5", "preset", "fingerprint")

# Seconds that a plate that is converted waits to be put into a dataset, while others are.
_WAIT = 3600.0


@dataclass
class _Total:
    rows: int = 0
    seconds: float = 0.0
    size: int = 0


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
    started = time.perf_counter()
    ready = plan_all(plates, request, scratch, skipping)
    stream = converted(ready, request, run, scratch, skipping)
    if request.joins is not None:
        # What columns a query gives is known when it was asked of every plate.
        stream = iter(ended := list(stream))
        ready = [replace(done.plate, columns=_columns_in(done.files)) for done in ended]
    drifts = drifts_of(ready, request)
    reports, facts = [], []
    readers: list[tuple[str, str]] = []
    sources: list[Source] = []
    outs = {drift.table: results.create(names(drift.table)) for drift in drifts}
    files = {table: Concatenation(out) for table, out in outs.items()}
    totals = {table: _Total() for table in outs}
    for done in stream:
        for drift in drifts:
            made = done.files.get(drift.table)
            if made is not None:
                files[drift.table].append(_fitted(made.path, drift.columns))
                totals[drift.table].rows += made.rows
                totals[drift.table].seconds += made.seconds
        done.remove()
        reports.append(done.report)
        readers += done.readers
        sources.append(done.plate.source)
        facts.append({name: done.facts[name] for name in _OF_A_PLATE if name in done.facts})
    for table, file in files.items():
        entries = {"version": VERSION, "compartment": table, "rows": str(totals[table].rows)}
        file.finish(footer({**entries, "plates": json.dumps(facts, separators=(",", ":"))}))
        totals[table].size = outs[table].tell()
    outputs = {
        drift.table: FileFacts(
            path=dest.path(names(drift.table)),
            rows=totals[drift.table].rows,
            columns=len(drift.columns),
            size=totals[drift.table].size,
            seconds=totals[drift.table].seconds,
        )
        for drift in drifts
    }
    return ConversionResult(
        files=outputs,
        sources=tuple(sources),
        readers=tuple(readers),
        seconds=time.perf_counter() - started,
        report=report_of(reports, drifts, ready, skipping),
    )


def convert_to_dataset(
    plates: Sequence[Plate], dest: Destination, request: Request, run: Runner, scratch: Path, skipping: Skipping
) -> ConversionResult:
    """Convert plates into a dataset, each put there when it is done.

    A plate that is there already, made of the same source in the same way, is left alone. Files of other plates are
    touched only where the type of a column has to become wider.
    """
    started = time.perf_counter()
    if request.joins is not None:
        raise OptionError("joins= makes one file of several plates, no dataset; leave concat=False out")
    for plate in plates:
        with skipping.attempt(plate.name):
            safe_name(plate.name)  # one that can be, before others are put there
    plates = [plate for plate in plates if plate.name not in skipping.reasons]
    dest.sweep()
    tables = {name: open_table(dest, name) for name in table_names(dest)}
    ready = plan_all(plates, request, scratch, skipping, lambda plate, wanted: _is_current(tables, plate, wanted))
    seconds: Counter[str] = Counter()
    reports = []
    readers: list[tuple[str, str]] = []
    sources: list[Source] = []
    fitting = _Fitting(dest, request, ready)
    try:
        if ready:
            with dest.writing(wait=_WAIT, file_by_file=True) as claim:
                tables = fitting.fitted(claim, {} if flatten(dest, claim) else tables)
        for done in converted(ready, request, run, scratch, skipping):
            with dest.writing(wait=_WAIT, file_by_file=True) as claim:
                tables = _put(
                    fitting.fitted(claim, tables), done, fitting.columns, whole=request.options.targets is None
                )
            for name, made in done.files.items():
                seconds[name] += made.seconds  # type: ignore[assignment]
            done.remove()
            reports.append(done.report)
            readers += done.readers
            sources.append(done.plate.source)
    finally:
        if ready:
            for table in tables.values():
                save_index(table)
    drifts, columns = fitting.drifts, fitting.columns
    outputs = {
        name: FileFacts(
            path=dest.path(name),
            rows=table.rows,
            columns=len(columns[name]) if name in columns else 0,
            size=table.size,
            seconds=seconds[name],
        )
        for name, table in tables.items()
    }
    return ConversionResult(
        files=outputs,
        sources=tuple(sources),
        readers=tuple(readers),
        seconds=time.perf_counter() - started,
        report=report_of(reports, drifts, ready, skipping),
    )


class _Fitting:
    """What the columns of each table are to be, for plates that are put into a dataset to which others write as well:
    looked at anew where they did."""

    def __init__(self, dest: Destination, request: Request, ready: Sequence[Ready]) -> None:
        self._dest = dest
        self._request = request
        self._ready = ready
        self.drifts: tuple[Drift, ...] = ()
        self.columns: dict[str, Columns] = {}

    def fitted(self, claim: Claim, before: Mapping[str, Table]) -> dict[str, Table]:
        """The tables as they are now, with the types that the new plates need.

        Raises:
            SchemaError: a column has different types on two plates.
        """
        names = before if self.columns else {*before, *table_names(self._dest)}
        tables = {name: open_table(self._dest, name, before.get(name)) for name in sorted(names)}
        claim.check()
        if self.columns and tables == before:
            return tables
        others = {
            name: {plate: member.content.columns for plate, member in table.members.items()}
            for name, table in tables.items()
        }
        self.drifts = drifts_of(self._ready, self._request, others, lambda n, p, c: column_is_empty(tables[n], p, c))
        self.columns = {drift.table: drift.columns for drift in self.drifts}
        new = {plate.name for plate in self._ready}
        for name, columns in self.columns.items():
            table = tables.get(name) or open_table(self._dest, name)
            tables[name] = fit_plates(table, retyped(table, columns, new))
        return tables


def _put(tables: Mapping[str, Table], done: Done, columns: Mapping[str, Columns], *, whole: bool) -> dict[str, Table]:
    """The tables with a plate's new files; where those are the `whole` plate, without files that it has no more."""
    result = dict(tables)
    plate = done.plate.name
    for name, table in tables.items():
        if name in done.files:
            made = done.files[name]
            facts = {**done.facts, "compartment": name, "rows": str(made.rows)}
            content = Content(made.rows, done.plate.columns[name], facts)
            result[name] = put_plate(table, plate, made.path, content, columns[name], {})
        elif whole and plate in table.members and (name == SINGLE_CELLS) == (SINGLE_CELLS in done.files):
            result[name] = drop_plate(table, plate)
    return result


def _is_current(tables: Mapping[str, Table], plate: str, fingerprint: str) -> bool:
    """Whether all tables of a plate are there as they would be made; some are where an earlier run was killed."""
    found = [table.members[plate] for table in tables.values() if plate in table.members]
    there = [member for member in found if member.fingerprint == fingerprint]
    if not there:
        return False
    facts = there[0].content.facts
    return facts.get("compartment") == SINGLE_CELLS or len(there) == len(facts.get("compartments", "").split(","))


def _columns_in(files: Mapping[str, FileFacts]) -> dict[str, Columns]:
    return {table: content_of(made.path).columns for table, made in files.items()}


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
