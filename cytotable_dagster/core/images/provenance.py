"""The provenance of a plate's images: which files its tables name, where they are, and whether they are the same."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.conversion.request import Request
from cytotable_dagster.core.errors import TargetError
from cytotable_dagster.core.images.check import checked
from cytotable_dagster.core.images.image import (
    AMBIGUOUS,
    BY_LOAD_DATA,
    BY_NAME,
    BY_PATH,
    BY_REGEX,
    BY_RULE,
    MISMATCH,
    MISSING,
    STATUSES,
    Image,
    Recorded,
    schema_of,
    tables_of,
)
from cytotable_dagster.core.images.image import IMAGE as IMAGE_KIND
from cytotable_dagster.core.images.resolve import recorded_at, resolved
from cytotable_dagster.core.images.search import Search
from cytotable_dagster.core.images.tables import table_of
from cytotable_dagster.core.intake.cache import fetched
from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.model.types import Plate, Source
from cytotable_dagster.core.parquet.writing import write_batches
from cytotable_dagster.core.planning.make_plan import make_plan
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.planning.plan import Plan, copies_in
from cytotable_dagster.core.sources.reading import reading
from cytotable_dagster.core.support.leftovers import temporary_folder
from cytotable_dagster.core.version import VERSION

if TYPE_CHECKING:
    import pyarrow as pa

ABOUT = "_about"
FILE = f"{ABOUT}/provenance.parquet"
"""Where provenance lies in a destination."""
_NAMED = 3


@dataclass(frozen=True)
class Provenance:
    """What became of a plate's images. Printed, counts by status, and the first that are missing or not the same."""

    plate: str
    images: tuple[Image, ...]
    recorded: Recorded

    @property
    def counts(self) -> dict[str, int]:
        """Images by status, `not looked at` for those that nobody looked at."""
        found = Counter(image.status or "not looked at" for image in self.images)
        return {status: found[status] for status in (*STATUSES, "not looked at") if found[status]}

    @property
    def problems(self) -> tuple[str, ...]:
        """A line for each file that is missing, or is another than was measured."""
        lines = [f"{i.detail or i.uri}" for i in self.images if i.status in (MISSING, MISMATCH)]
        return tuple(dict.fromkeys(lines))

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {status}" for status, count in self.counts.items())
        lines = [f"plate {self.plate}: {len(self.images):,} images and channels: {counts or 'none'}"]
        lines += self.recorded.notes
        first = [image.detail for image in self.images if image.detail and image.status not in (MISSING, MISMATCH)]
        problems = [*self.problems[:_NAMED], *list(dict.fromkeys(filter(None, first)))[:1]]
        lines += [f"  {line}" for line in problems]
        more = len(self.problems) - _NAMED
        return "\n".join([*lines, *([f"  and {more:,} more"] if more > 0 else [])])


def provenance_of(plan: Plan, search: Search) -> Provenance:
    """The provenance of the images that a plan's image table names.

    Raises:
        OptionError: a folder or file that the search names is not there.
        SourceAccessError, DownloadError: a store does not let it be listed. That an image cannot be had is no error.
    """
    recorded = table_of(plan)
    images = resolved(recorded, plan.source.uri, search)
    notes = search.cache.folder.parent / "provenance" / f"{_mark(plan, search)}.jsonl"
    return Provenance(plan.source.plate, tuple(checked(images, search, notes)), recorded)


def provenance_of_plates(plates: Sequence[Plate], search: Search, request: Request) -> list[Provenance]:
    """The same of plates, each of which is fetched, and its image table looked through and nothing else of it; keyed as
    the tables that the request makes of them.

    Raises:
        CytoTableError: as conversions do, see `convert`.
    """
    several = len(plates) > 1
    numbered = several if request.add_tablenumber is None else request.add_tablenumber
    found = []
    for plate in plates:
        with (
            fetched(plate, request.cache) as source,
            temporary_folder("provenance") as folder,
            reading(source, copies_in(folder)) as readable,
        ):
            options = replace(
                request.options,
                # Single cells have a plate where the source names none.
                joined=True,
                targets=(IMAGE,),
                numbered=numbered,
                plate_name=plate.name if several else None,
            )
            found.append(provenance_of(_plan(readable, request, options, folder), search))
    return apart(found)


def _plan(source: Source, request: Request, options: Options, folder: Path) -> Plan:
    preset = request.preset_of(source)
    try:
        return make_plan(source, preset, options, folder)
    except TargetError:
        # There is no image table.
        return make_plan(source, preset, replace(options, targets=None), folder)


# Ways that may lead from several plates to one file, and how each is told which plate it is.
_IN_IMAGE_DIR = "put {plate} into image_dir="
_GUESSED = dict.fromkeys((BY_PATH, BY_NAME, BY_REGEX), _IN_IMAGE_DIR) | {
    BY_RULE: "put <plate> into the to = of the path rule",
    BY_LOAD_DATA: "give load_data= a file with Metadata_Plate",
}


def apart(found: Sequence[Provenance]) -> list[Provenance]:
    """The same, but for files that a folder, a rule or load_data gave to several plates: whose they are nobody can
    tell. A rule that is given one recorded place by several adds nothing to that."""
    owners: dict[str, set[str]] = {}
    places: dict[str, set[str]] = {}
    for one in found:
        for image in one.images:
            if image.uri and image.kind == IMAGE_KIND and image.found in _GUESSED:
                # One plate may be measured twice.
                owners.setdefault(image.uri, set()).add(str(image.plate or one.plate))
                places.setdefault(image.uri, set()).add(recorded_at(image) if image.found == BY_RULE else one.plate)
    shared = {uri: sorted(plates) for uri, plates in owners.items() if len(plates) > 1 and len(places[uri]) > 1}

    def doubtful(image: Image) -> Image:
        if image.uri not in shared or image.found not in _GUESSED:
            return image
        detail = f"{image.uri}: found for plates {' and '.join(shared[image.uri][:2])}; {_GUESSED[image.found]}"
        return replace(image, status=AMBIGUOUS, detail=detail, uri=None, size=None, etag=None, md5=None)

    return [replace(one, images=tuple(map(doubtful, one.images))) if shared else one for one in found]


def write_provenance(found: Sequence[Provenance], path: Path) -> int:
    """Write the provenance of plates as one Parquet file, which appears when it is whole; the number of rows."""
    schema = _common([schema_of(one.recorded) for one in found])
    tables = (table for one in found for table in _tables(one, schema))
    return write_batches(path, schema, tables, {"version": VERSION, "compartment": "provenance"})


def _tables(one: Provenance, schema: "pa.Schema") -> "Iterator[pa.Table]":
    import pyarrow as pa

    own = schema_of(one.recorded)
    for table in tables_of(one.images, own, [field.name for field in one.recorded.keys]):
        columns = [
            table[field.name].cast(field.type) if field.name in own.names else pa.nulls(len(table), field.type)
            for field in schema
        ]
        yield pa.table(columns, schema=schema)


def _common(schemas: "Sequence[pa.Schema]") -> "pa.Schema":
    """One schema for all plates; a key that is a number on one and text on another is text."""
    import pyarrow as pa

    fields: dict[str, pa.Field] = {}
    for schema in schemas:
        for field in schema:
            known = fields.get(field.name, field)
            fields[field.name] = field if known.type == field.type else pa.field(field.name, pa.string())
    first = [name for name in schemas[0].names if name in fields]
    keys = [name for name in fields if name not in first]
    place = first.index("channel")
    return pa.schema([fields[name] for name in (*first[:place], *keys, *first[place:])])


def _mark(plan: Plan, search: Search) -> str:
    """What tells a check from others: the plate's content and where its images are looked for."""
    text = f"{plan.source.uri}\n{plan.source.fingerprint}\n{search!r}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
