"""What a plate holds and how it would be converted, without converting it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cytotable_dagster.core.conversion.request import Request
from cytotable_dagster.core.intake.cache import fetched
from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.model.types import Plate
from cytotable_dagster.core.planning.links import told
from cytotable_dagster.core.planning.make_plan import make_plan
from cytotable_dagster.core.planning.plan import Plan, copies_in
from cytotable_dagster.core.sources.sqlite.copies import settled
from cytotable_dagster.core.sources.state import check_unchanged, unless_changed
from cytotable_dagster.core.support.leftovers import temporary_folder
from cytotable_dagster.core.support.machine_errors import errors_of_machine
from cytotable_dagster.core.support.text_table import text_table


@dataclass(frozen=True)
class Inspection:
    """A plan. Printed, a table, what would be joined how, and what would not be converted."""

    plan: Plan

    def __str__(self) -> str:
        plan = self.plan
        heads = ("table", "compartment", "rows", "columns", "reader")
        rows = [
            (
                part.table.name,
                part.table.compartment,
                f"{part.rows:,}",
                f"{len(part.columns):,}",
                f"{part.reader} ({part.reason})" if part.reason else part.reader,
            )
            for part in plan.tables
        ]
        lines = [
            f"plate    {plan.source.plate}",
            f"source   {plan.source.uri}, {plan.source.size:,} bytes",
            f"preset   {plan.preset.name}",
            f"images   {plan.images:,}",
            f"chunks   {plan.chunk_count:,}",
            "",
            *text_table(heads, rows, left=("compartment", "reader")),
        ]
        lines.extend(_joined(plan))
        lines.extend(f"not converted: {table}" for table in plan.unconverted)
        return "\n".join((*lines, *plan.notes))


def _joined(plan: Plan) -> list[str]:
    """What the joined table is made of, where there are several tables of objects."""
    if not plan.links and not plan.unjoined:
        return []
    steps = "".join(f"; {link.parent} by {told(link)}" for link in plan.links)
    left = [f"not joined: {compartment}, for {reason}" for compartment, reason in plan.unjoined]
    return ["", f"joined: a row for each of {plan.base}{steps}", *left]


@errors_of_machine()
def inspect_plate(
    source_path: str | Path,
    source_datatype: str | None = None,
    preset: str | Path | Preset | None = None,
    chunk_size: int | None = None,
    cloud: Mapping[str, Any] | None = None,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    decimal: str | None = None,
    plate_pattern: str | None = None,
    site_pattern: str | None = None,
    equal_sites: str | None = None,
) -> Inspection:
    """Look through a plate as a conversion would; raises what `convert` would.

    Raises:
        SourceFormatError: several plates are there; see `inspect_plates`.
    """
    request = Request.checked(
        preset=preset,
        source_datatype=source_datatype,
        chunk_size=chunk_size,
        encoding=encoding,
        delimiter=delimiter,
        decimal=decimal,
        plate_pattern=plate_pattern,
        site_pattern=site_pattern,
        equal_sites=equal_sites,
        cloud=cloud,
    )
    return _looked_through(request.plate_at(source_path), request)


@errors_of_machine()
def inspect_plates(source_path: str | Path, **asked: Any) -> tuple[Inspection, ...]:
    """Look through all plates that are there; the arguments are those of `inspect_plate`."""
    request = Request.checked(**asked)
    return tuple(_looked_through(plate, request) for plate in request.plates_at(source_path))


def _looked_through(plate: Plate, request: Request) -> Inspection:
    with (
        fetched(plate, request.cloud) as source,
        unless_changed(source),
        temporary_folder("inspect") as folder,
    ):
        readable = settled(source, copies_in(folder))
        chosen = request.preset_of(readable)
        plan = make_plan(readable, chosen, request.options, folder)
        check_unchanged(source)
        return Inspection(plan)
