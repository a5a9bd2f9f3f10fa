"""Making a plan: one look through a plate decides tables, types, order and chunks."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import KeyColumnError, OptionError, PresetError
from cytotable_dagster.core.model.column_types import ResultColumn, result_columns, text_candidates
from cytotable_dagster.core.model.names import DEFAULT_NAMES
from cytotable_dagster.core.model.preset_file import ENDING, read_preset
from cytotable_dagster.core.model.presets import IMAGE, Preset, preset_named
from cytotable_dagster.core.model.types import Link, Source, SourceTable
from cytotable_dagster.core.model.values import typed_array
from cytotable_dagster.core.planning import chunks
from cytotable_dagster.core.planning.links import columns_of, joined_by, unjoined
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.planning.plan import (
    ADDED_PLATE,
    ADDED_TABLE_NUMBER,
    OWN_TABLE_NUMBER,
    Plan,
    TablePlan,
    copies_in,
    fingerprint,
    save_plan,
)
from cytotable_dagster.core.planning.table_numbers import in_one_form
from cytotable_dagster.core.planning.wanted import chosen_tables, source_tables
from cytotable_dagster.core.planning.whole_tables import look_through_whole
from cytotable_dagster.core.sources.csv.dialect import UTF8, CsvFormat
from cytotable_dagster.core.sources.opening import (
    adjusted_preset,
    as_preset,
    datatype_of,
    detected_preset,
    find_files_tables,
    holds,
)
from cytotable_dagster.core.sources.protocols import TableReader
from cytotable_dagster.core.sources.sqlite.catalog import check_is_sqlite, read_tables
from cytotable_dagster.core.sources.sqlite.reader import open_table, text_kinds
from cytotable_dagster.core.sources.sqlite.tables import detect_preset, fitted_preset, notes_on
from cytotable_dagster.core.sources.sqlite.unconverted import in_sqlite, others_in
from cytotable_dagster.core.sources.unconverted import others_asked
from cytotable_dagster.core.support.integer_file import save_integers
from cytotable_dagster.core.version import VERSION

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from cytotable_dagster.core.sources.sqlite.pages import PageTable

# A batch is what is decoded and encoded at once, and one row group of a file: 64 MB of values, or 80 MB of the joined
# table, which is three times as wide; encoding a column chunk costs as much as encoding a thousand values more. Of CSV
# and NPZ files less, for what is read of them lies beside the values.
_BATCH_VALUES = 8_000_000
_JOINED_BATCH_VALUES, _JOINED_BATCH_VALUES_OF_FILES = 10_000_000, 6_000_000
# What is kept as chunk files has fewer of them.
_BATCHES_PER_CHUNK = 2


def resolved_preset(
    source: Source,
    preset: Preset | str | None,
    *,
    datatype: str | None = None,
    format: CsvFormat = UTF8,
    metadata: Iterable[str] | None = None,
    compartments: Iterable[str] | None = None,
    identifying_columns: Iterable[str] | None = None,
) -> Preset:
    """The preset that a source is converted by: the one given or named (by name, or by the path of a TOML file), or the
    one its tables show, as adjusted. One for another type of source than this gives the tables and the names of their
    columns; how they are read is what they show.

    Args:
        datatype: `sqlite`, `csv` or `npz`, where it is known; else the preset's, if such files are there, or what the
            files' names say.

    Raises:
        SourceFormatError, DamagedSourceError: not SQLite, or no preset fits.
        PresetError: no preset of that name, or one that cannot be so adjusted.
    """
    compartments = None if compartments is None else tuple(compartments)
    chosen = None if preset is None else given_preset(preset)
    if datatype is None and chosen is not None and (chosen.flat or holds(source.path, chosen.datatype)):
        datatype = chosen.datatype
    datatype = datatype or datatype_of(source.path)
    if datatype == "sqlite":
        check_is_sqlite(source.path)
    tables = {}
    if datatype == "sqlite":
        tables = {name: [c.name for c in columns] for name, columns in read_tables(source.file).items()}
    if chosen is None or chosen.datatype != datatype:
        if datatype == "sqlite":
            own = detect_preset(tables, source.uri)
        else:
            own = detected_preset(source.path, datatype, format, source.uri, compartments or ())
        chosen = own if chosen is None else as_preset(chosen, own, source.uri)
    chosen = chosen.with_options(metadata=metadata, compartments=compartments, identifying_columns=identifying_columns)
    if datatype == "sqlite":
        return fitted_preset(chosen, tables, source.uri)
    return adjusted_preset(source.path, chosen, format)


def given_preset(preset: Preset | str | Path) -> Preset:
    """A preset, the one of a name, or the one that a TOML file describes.

    Raises:
        PresetError: there is none.
    """
    if isinstance(preset, Preset):
        return preset
    if not isinstance(preset, str | Path):
        raise PresetError(f"preset {preset!r}: give a preset, its name, or the path of a {ENDING} file")
    return read_preset(Path(preset)) if str(preset).endswith(ENDING) else preset_named(str(preset))


def make_plan(
    source: Source,
    preset: Preset,
    options: Options,
    folder: Path,
    number: "Future[int] | None" = None,
    copies: Path | None = None,
) -> Plan:
    """Look through a plate and decide how it is converted; the plan is kept in `folder`.

    Args:
        number: what becomes the plan's `number`, waited for at the end.
        copies: where tables that are out of the ordinary are copied to; None is a folder in `folder`.

    Raises:
        SourceFormatError, DamagedSourceError: not what the preset is for, or no table of it.
        KeyColumnError: key columns or values are missing, or keys repeat.
    """
    files = None
    if options.site_pattern is not None and (preset.flat or preset.datatype != "csv"):
        raise OptionError(f"{source.uri}: site_pattern= is for folders of CSV files that are named for tables")
    asked = others_asked(options.targets, preset)
    if preset.datatype == "sqlite":
        check_is_sqlite(source.path)
        tables = read_tables(source.file)
        others = {kind: SourceTable(kind, name, tables[name]) for kind, name in others_in(tables, preset).items()}
    else:
        files = find_files_tables(source.path, preset, options.format, folder, asked)
        tables = {name: table.columns for name, table in files.tables.items()}
        others = {kind: SourceTable(kind, kind, table.columns) for kind, table in files.others.items()}
    there = source_tables(tables, preset, source.uri)
    whole = [others[kind] for kind in asked if kind in others]
    found = chosen_tables(there, whole, options, source.uri)
    base, links = joined_by(found, preset)
    parts, keys, readers = [], [], []
    wholes: dict[str, PageTable] = {}

    def opened(table: SourceTable, of: Sequence[str]) -> TableReader:
        if files is None:
            return open_table(source.file, table, of, copies or copies_in(folder), wholes)
        return files.others[table.name] if table.name in files.others else files.tables[table.name]

    for table in found:
        reader = opened(table, preset.keys_of(table.compartment))
        part, key = _look_through(reader, table, preset, options, columns_of(links, table.compartment))
        parts.append(part)
        keys.append(key)
        readers.append(reader)
    parts_whole, rows_whole = [], {}
    for table in whole:
        part, rows_whole[table.compartment] = look_through_whole(opened(table, ()), table, preset, options)
        parts_whole.append(replace(part, columns=_making_room(part.columns, options)))
    parts = _making_room_for_plate(parts, options)
    parts, keys = in_one_form(parts, keys, readers, preset.table_number)
    try:
        orders, images = chunks.order_rows(keys)
    except KeyColumnError as error:
        raise KeyColumnError(f"{source.uri}: {error}") from None
    batch_size = _batch_size(found, options, preset)
    bounds = _bounds(orders, batch_size, options) if found else chunks.no_bounds()
    folder.mkdir(parents=True, exist_ok=True)
    for kind, rows in rows_whole.items():
        save_integers(folder / f"{kind}.rows.int64", rows)
    for compartment, order in orders.items():
        save_integers(folder / f"{compartment}.rows.int64", order.rows)
        save_integers(folder / f"{compartment}.counts.int64", order.counts)
    matches = _matches(orders, base, links)
    partners = tuple(link.parent for link in links if link.parent in matches)
    for compartment, match in matches.items():
        save_integers(folder / f"{compartment}.match.int64", match)
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
        unconverted=files.unconverted if files else in_sqlite(source.file, tables, preset, (*there, *whole)),
        links=tuple(link for link in links if link.parent in partners),
        unjoined=unjoined(found, preset, base, partners, links),
        images=images,
        batches=chunks.cut_batches(orders, bounds, batch_size),
        skipped=files.all_skipped() if files else (),
        notes=(
            *_notes(source),
            *(files.all_notes() if files else (*_lacking(there, preset), *notes_on(preset))),
        ),
        skipped_rows=files.skipped_rows() if files else 0,
        number=number.result() if number else None,
        copies=copies or copies_in(folder),
        plate=_plate(parts, keys, readers, source, preset, options, number is not None),
    )
    save_plan(plan)
    return plan


def _lacking(there: Sequence[SourceTable], preset: Preset) -> tuple[str, ...]:
    found = {table.compartment for table in there}
    names = [name for name in (*preset.metadata, *preset.compartments) if name not in found]
    return (f"there is no table of {', '.join(names)}",) if names else ()


def _notes(source: Source) -> tuple[str, ...]:
    log = (f"{source.path.name} was read together with the log beside it",) if source.settled else ()
    return (*((source.note,) if source.note else ()), *log)


def _matches(
    orders: "Mapping[str, chunks.RowOrder]", base: str | None, links: Sequence[Link]
) -> "dict[str, np.ndarray]":
    """For each compartment joined to the base, the positions of its rows that belong to the base's; none of one whose
    numbers do not tell its objects apart."""
    import numpy as np

    if base is None:
        return {}
    found: dict[str, np.ndarray] = {}
    for link in links:
        if link.child != base and link.child not in found:
            continue
        match = chunks.match_linked(orders[link.child], orders[link.parent], link)
        if match is not None:
            # The position at the end is what a position of -1 finds.
            found[link.parent] = match if link.child == base else np.append(match, -1)[found[link.child]]
    if IMAGE in orders:
        found[IMAGE] = chunks.match_images(orders[base], orders[IMAGE])
    return found


def _batch_size(found: Sequence[SourceTable], options: Options, preset: Preset) -> int:
    """Objects of a batch: by the widest table, or by all that are held together to be joined."""
    if options.joined:
        sides = [table for table in found if table.compartment != IMAGE or options.image_features] or found
        values = _JOINED_BATCH_VALUES if preset.datatype == "sqlite" else _JOINED_BATCH_VALUES_OF_FILES
        return max(values // sum(len(table.columns) for table in sides), 1)
    return max(_BATCH_VALUES // max((len(table.columns) for table in found), default=1), 1)


def _bounds(orders: "Mapping[str, chunks.RowOrder]", batch_size: int, options: Options) -> "np.ndarray":
    """Bounds of the chunks. Where they become one file, nobody sees that there are more than were asked for, and they
    are about equal, so that cores end their work together."""
    if options.chunks is not None:
        return chunks.cut_by_number(orders, options.chunks)
    if options.one_file and (options.chunk_size or batch_size) >= batch_size:
        return chunks.cut_evenly(orders, batch_size)
    return chunks.cut_by_size(orders, options.chunk_size or _BATCHES_PER_CHUNK * batch_size)


def _look_through(
    reader: TableReader,
    table: SourceTable,
    preset: Preset,
    options: Options,
    parents: tuple[str, ...],
) -> tuple[TablePlan, chunks.TableKeys]:
    keys = preset.keys_of(table.compartment)
    others = tuple(column for column in parents if column not in keys)
    rows, values = reader.read_keys(others)
    named = dict(zip((*keys, *others), values, strict=True))
    profile = reader.profile()
    kinds = text_kinds(reader, text_candidates(table, preset, profile), rows)
    part = TablePlan(
        table=table,
        reader=reader.reader,
        reason=reader.reason,
        columns=_making_room(
            result_columns(table, preset, profile, kinds, dict(options.casts), options.names), options
        ),
        rows=len(rows),
    )
    return part, chunks.TableKeys(
        table=table,
        rows=rows,
        table_numbers=named.get(preset.table_number or ""),
        image_numbers=named[preset.image_number],
        object_numbers=named.get(preset.object_number_of(table.compartment) or ""),
        parents={column: _whole_numbers(named[column], column) for column in parents},
    )


def _whole_numbers(values: "pa.Array", column: str) -> "pa.Array":
    """Object numbers of partners; what is no whole number is no partner's."""
    import pyarrow as pa

    return values if values.type == pa.int64() else typed_array(values.to_pylist(), column, pa.int64())[0]


def _making_room(columns: tuple[ResultColumn, ...], options: Options) -> tuple[ResultColumn, ...]:
    if options.table_number is None:
        return columns
    return tuple(
        replace(column, name=OWN_TABLE_NUMBER) if column.name == ADDED_TABLE_NUMBER else column for column in columns
    )


def _making_room_for_plate(parts: Sequence[TablePlan], options: Options) -> list[TablePlan]:
    """Tables of a plate among others, whose own name tells it apart where none of them has a `Metadata_Plate`: what
    stands beside a column of another name may be equal on two plates."""
    own = {column.name for part in parts for column in part.columns if not column.beside}
    if options.plate_name is None or ADDED_PLATE in own:
        return list(parts)
    return [replace(part, columns=tuple(c for c in part.columns if c.name != ADDED_PLATE)) for part in parts]


def _plate(
    parts: Sequence[TablePlan],
    keys: Sequence[chunks.TableKeys],
    readers: Sequence[TableReader],
    source: Source,
    preset: Preset,
    options: Options,
    among_others: bool,
) -> str | int | None:
    """What tables without `Metadata_Plate` are told to be of: where no table has one, what the plate goes by here
    (single cells need one); else, where the plate is or will be among others, what the image table calls it."""
    import pyarrow as pa

    found = {part.table.compartment: c for part in parts for c in part.columns if c.name == ADDED_PLATE}
    by_default = options.names == DEFAULT_NAMES
    if not found:
        needed = by_default and (options.joined or preset.flat)
        return source.plate if options.plate_name is None and needed else options.plate_name
    if not (options.plate_name or among_others) or not by_default or IMAGE not in found:
        return None
    place, column = [part.table.compartment for part in parts].index(IMAGE), found[IMAGE]
    batches = readers[place].batches([keys[place].rows], [column.source], [pa.type_for_alias(column.read_type)])
    names = {name for arrays, _ in batches for name in arrays[0].unique().to_pylist()} - {None}
    return names.pop() if len(names) == 1 else None
