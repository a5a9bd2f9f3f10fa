"""Making a plan: one look through a plate decides tables, types, order and chunks."""

from collections.abc import Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import KeyColumnError
from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.model.types import Source
from cytotable_dagster.core.planning import chunks
from cytotable_dagster.core.planning.cutting import batch_size, chunk_bounds
from cytotable_dagster.core.planning.links import columns_of, joined_by, unjoined
from cytotable_dagster.core.planning.looking import look_through, making_room, making_room_for_plate, plate_told
from cytotable_dagster.core.planning.matching import matches_of
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.planning.plan import Plan, copies_in, fingerprint, save_plan
from cytotable_dagster.core.planning.table_numbers import in_one_form
from cytotable_dagster.core.planning.wanted import chosen_tables, columns_nowhere
from cytotable_dagster.core.planning.whole_tables import look_through_whole
from cytotable_dagster.core.shown import counted
from cytotable_dagster.core.sources.identity import content_crc32, known_by_content
from cytotable_dagster.core.sources.opening import open_plate
from cytotable_dagster.core.sources.preset_tables import tables_of
from cytotable_dagster.core.sources.unconverted import others_asked
from cytotable_dagster.core.support.cores import cores
from cytotable_dagster.core.support.integer_file import save_integers
from cytotable_dagster.core.support.telling import LOOKING_THROUGH, remark, tell
from cytotable_dagster.core.version import VERSION

if TYPE_CHECKING:
    import numpy as np


def make_plan(
    source: Source,
    preset: Preset,
    options: Options,
    folder: Path,
    copies: Path | None = None,
    digest: "Future[str] | None" = None,
    pool: Executor | None = None,
) -> Plan:
    """Look through a plate and decide how it is converted; the plan is kept in `folder`.

    Args:
        copies: where tables that are out of the ordinary are copied to; None is a folder in `folder`.
        digest: that of the source, which is to be known by its content, while it is still being computed.
        pool: looks through the tables, also for whoever plans another plate at the same time; None is one of its own.

    Raises:
        SourceFormatError, DamagedSourceError: not what the preset is for, or no table of it.
        KeyColumnError: key columns or values are missing, or keys repeat.
    """
    if not options.numbered:
        return _made(source, preset, options, folder, copies, None, digest, pool)
    # Reading the file through takes about as long as looking through it.
    with ThreadPoolExecutor(1) as beside:
        return _made(source, preset, options, folder, copies, beside.submit(content_crc32, source.path), digest, pool)


def _made(
    source: Source,
    preset: Preset,
    options: Options,
    folder: Path,
    copies: Path | None,
    number: "Future[int] | None",
    digest: "Future[str] | None",
    pool: Executor | None,
) -> Plan:
    asked = others_asked(options.targets, preset)
    copies = copies or copies_in(folder)
    plate = open_plate(source, preset, options.format, folder, copies, asked)
    there = tables_of(plate, preset, source.uri)
    others = plate.others
    whole = [others[kind] for kind in asked if kind in others]
    found = chosen_tables(there, whole, options, source.uri)
    base, links = joined_by(found, preset)
    readers = [plate.open(table, preset.keys_of(table.compartment)) for table in found]
    parts, keys = [], []
    tell(LOOKING_THROUGH, 0, len(found))
    with nullcontext(pool) if pool is not None else ThreadPoolExecutor(cores()) as threads:
        parents = [columns_of(links, table.compartment) for table in found]
        for part, key in threads.map(look_through, readers, found, repeat(preset), repeat(options), parents):
            parts.append(part)
            keys.append(key)
            tell(LOOKING_THROUGH, len(parts), len(found))
    parts_whole, rows_whole = [], {}
    for table in whole:
        part, rows_whole[table.compartment] = look_through_whole(plate.open(table, ()), table, preset, options)
        parts_whole.append(replace(part, columns=making_room(part.columns, options)))
    parts = making_room_for_plate(parts, options)
    parts, keys = in_one_form(parts, keys, readers, preset.table_number)
    try:
        orders, images = chunks.order_rows(keys)
    except KeyColumnError as error:
        raise KeyColumnError(f"{source.uri}: {error}") from None
    size = batch_size(found, options, keeps_beside=plate.keeps_beside)
    bounds = chunk_bounds(orders, size, options) if found else chunks.no_bounds()
    matches = matches_of(orders, base, links)
    partners = tuple(link.parent for link in links if link.parent in matches)
    _keep_rows(folder, orders, matches, rows_whole)
    told = plate.told(there, whole)
    called = plate_told(parts, keys, readers, source, preset, options)
    source = known_by_content(source, digest.result()) if digest else source
    plan = Plan(
        folder=folder,
        fingerprint=fingerprint(source, preset, options),
        version=VERSION,
        source=source,
        preset=preset,
        options=options,
        tables=tuple(parts),
        base=base,
        partners=partners,
        others=tuple(parts_whole),
        unconverted=told.unconverted,
        links=tuple(link for link in links if link.parent in partners),
        unjoined=unjoined(found, preset, base, partners, links),
        images=images,
        batches=chunks.cut_batches(orders, bounds, size),
        skipped=told.skipped,
        notes=(*_notes(source, called), *columns_nowhere(there, preset), *told.notes),
        skipped_rows=told.skipped_rows,
        number=number.result() if number else None,
        copies=copies,
        plate=called,
    )
    save_plan(plan)
    remark("planned %s: %s", source.plate, _told(plan))
    return plan


def _keep_rows(
    folder: Path,
    orders: "Mapping[str, chunks.RowOrder]",
    matches: "Mapping[str, np.ndarray]",
    whole: "Mapping[str, np.ndarray]",
) -> None:
    """Keep row numbers, rows of each image and matches where `Plan` finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    for compartment, order in orders.items():
        save_integers(folder / f"{compartment}.rows.int64", order.rows)
        save_integers(folder / f"{compartment}.counts.int64", order.counts)
    for compartment, match in matches.items():
        save_integers(folder / f"{compartment}.match.int64", match)
    for kind, rows in whole.items():
        save_integers(folder / f"{kind}.rows.int64", rows)


def _told(plan: Plan) -> str:
    """A plan in one line: tables with rows and columns, images, chunks."""
    tables = [
        f"{part.table.compartment} {counted(part.rows, 'row')} x {counted(len(part.columns), 'column')}"
        for part in (*plan.tables, *plan.others)
    ]
    return ", ".join((*tables, counted(plan.chunk_count, "chunk")))


def _notes(source: Source, called: str | int | None) -> tuple[str, ...]:
    other = called is not None and str(called) != source.plate
    names = (
        (f"plate {source.plate}, as its file is called, is {called} in its tables, and so in Metadata_Plate",)
        if other
        else ()
    )
    log = (f"{source.path.name} was read together with the log beside it",) if source.settled else ()
    return (*((source.note,) if source.note else ()), *log, *names)
