"""Tables on their way to a sink."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cytotable_dagster.core.conversion.place import place_and_name
from cytotable_dagster.core.conversion.request import Request
from cytotable_dagster.core.images import Search
from cytotable_dagster.core.reports.results import ConversionResult
from cytotable_dagster.core.sinks.sink import Sink, Target


def write_to_sink(
    sink: Sink,
    dest_path: str | Path,
    request: Request,
    search: Search | None,
    convert: Callable[[Path], ConversionResult],
    *,
    overwrite: bool,
) -> ConversionResult:
    """Make tables as Parquet, and write them to a sink.

    Args:
        request: what the sink gave for it.
        convert: makes the tables in a folder.

    Raises:
        DestinationExistsError, DestinationInUseError: before anything is made.
    """
    started = time.perf_counter()
    place, name = place_and_name(dest_path, request.dest_store)
    with place.writing(name) as claim, place.scratch() as scratch:
        target = Target(place, name, claim, scratch, overwrite, search)
        sink.check(target)
        written = sink.write(convert(scratch / "tables"), target, request)
    return replace(written, seconds=time.perf_counter() - started)
