"""What a plate holds and how it would be converted, without converting it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cytotable_dagster.core.conversion.request import Request, sources_in
from cytotable_dagster.core.intake.cache import fetched
from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.model.types import Plate
from cytotable_dagster.core.planning.links import told
from cytotable_dagster.core.planning.make_plan import make_plan
from cytotable_dagster.core.planning.plan import Plan, copies_in
from cytotable_dagster.core.reports.account import planned_report
from cytotable_dagster.core.reports.records import ConversionReport
from cytotable_dagster.core.sources.reading import reading
from cytotable_dagster.core.sources.state import check_unchanged
from cytotable_dagster.core.support.arguments import address_in
from cytotable_dagster.core.support.leftovers import temporary_folder
from cytotable_dagster.core.support.machine_errors import errors_of_machine
from cytotable_dagster.core.support.text_table import text_table


@dataclass(frozen=True)
class ChunkOf:
    """A chunk that a conversion would make: its number, its images, its rows of each compartment."""

    chunk: int
    images: int
    rows: Mapping[str, int]


@dataclass(frozen=True)
class Inspection:
    """A plan, its chunks, and the report that is known of it so far.

    Printed, a table, what would be joined how, what would not be converted, and what a conversion would complain of.
    """

    plan: Plan
    report: ConversionReport
    chunks: tuple[ChunkOf, ...]

    def __str__(self) -> str:
        plan, report = self.plan, self.report
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
            f"chunks   {plan.chunk_count:,} {self._chunks}",
            "",
            *text_table(heads, rows, left=("compartment", "reader")),
        ]
        lines.extend(_joined(plan))
        lines.extend(f"not converted: {table}" for table in plan.unconverted)
        lines.extend(report.notes)
        problems = [f"  {line}" for line in report.problems] or ["  none; values are looked at when they are converted"]
        lines.extend(("", "problems, which a conversion tells and with strict=True refuses:", *problems))
        return "\n".join(lines)

    # What a notebook shows of it.
    __repr__ = __str__

    @property
    def _chunks(self) -> str:
        """What of a plate a chunk holds: `(24 images each; 610 to 655 rows of Cells)`."""
        images = _range([chunk.images for chunk in self.chunks])
        base = self.plan.base or next(iter(self.plan.compartments), None)
        rows = _range([chunk.rows[base] for chunk in self.chunks]) if base else "0"
        each = " each" if len(self.chunks) > 1 else ""
        return f"({images} image{'' if images == '1' else 's'}{each}; {rows} rows of {base})"

    def as_dict(self) -> dict[str, Any]:
        """The same for programs: names, numbers and lists that JSON takes."""
        plan, report = self.plan, self.report
        return {
            "plate": plan.source.plate,
            "source": plan.source.uri,
            "bytes": plan.source.size,
            "etag": plan.source.etag,
            "preset": plan.preset.name,
            "images": plan.images,
            "chunks": [asdict(chunk) for chunk in self.chunks],
            "tables": [
                {
                    "table": part.table.name,
                    "compartment": part.table.compartment,
                    "rows": part.rows,
                    "columns": len(part.columns),
                    "reader": part.reader,
                    "reason": part.reason,
                }
                for part in plan.tables
            ],
            "base": plan.base,
            "joined": {link.parent: told(link) for link in plan.links},
            "not_joined": dict(plan.unjoined),
            "not_converted": [asdict(table) for table in plan.unconverted],
            "skipped": [{"file": file, "reason": reason} for file, reason in plan.skipped],
            "notes": list(report.notes),
            "problems": list(report.problems),
        }


def as_json(inspections: Iterable[Inspection]) -> str:
    """A list of what was found of each plate."""
    return json.dumps([inspection.as_dict() for inspection in inspections], indent=1)


def _range(numbers: Sequence[int]) -> str:
    least, most = min(numbers, default=0), max(numbers, default=0)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _chunks_of(plan: Plan) -> tuple[ChunkOf, ...]:
    ends = {name: plan.counts(name).cumsum() for name in plan.compartments}

    def rows(name: str, images: int) -> int:
        return int(ends[name][images - 1]) if images else 0

    return tuple(
        ChunkOf(
            chunk=number,
            images=bounds[-1] - bounds[0],
            rows={name: rows(name, bounds[-1]) - rows(name, bounds[0]) for name in plan.compartments},
        )
        for number, bounds in enumerate(plan.batches)
    )


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
    return _looked_through(request.plate_at(address_in("source_path", source_path)), request)


@errors_of_machine()
def inspect_plates(source_path: str | Path, **asked: Any) -> tuple[Inspection, ...]:
    """Look through all plates that are there; the arguments are those of `inspect_plate`."""
    request = Request.checked(**asked)
    return tuple(_looked_through(plate, request) for plate in request.plates_at(sources_in(source_path)))


def _looked_through(plate: Plate, request: Request) -> Inspection:
    with (
        fetched(plate, request.cache) as source,
        temporary_folder("inspect") as folder,
        reading(source, copies_in(folder)) as readable,
    ):
        chosen = request.preset_of(readable)
        plan = make_plan(readable, chosen, request.options, folder)
        check_unchanged(source)
        return Inspection(plan, planned_report(plan), _chunks_of(plan))
