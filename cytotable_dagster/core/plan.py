"""The plan of a conversion: everything that its steps share, decided once and kept in a folder.

Steps get the folder's path, not the plan, so that nothing large travels to the workers. The folder holds `plan.json`
and, for each compartment, the row numbers in the order of the result (`Cells.rows.npy`) and rows by image
(`Cells.counts.npy`).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core import chunks
from cytotable_dagster.core.errors import KeyColumnError, TargetError
from cytotable_dagster.core.files import whole_file
from cytotable_dagster.core.presets import IMAGE, Preset, detect_preset, preset_named
from cytotable_dagster.core.schema import ResultColumn, checked_casts, result_columns, text_candidates
from cytotable_dagster.core.sqlite_file import check_is_sqlite, read_tables
from cytotable_dagster.core.sqlite_reader import TableReader, open_table, text_kinds
from cytotable_dagster.core.types import Source, SourceColumn, SourceTable
from cytotable_dagster.core.version import VERSION

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# The column that `add_tablenumber` adds; a TableNumber of the source's own then makes room for it.
ADDED_TABLE_NUMBER = "Metadata_TableNumber"
OWN_TABLE_NUMBER = "Metadata_Image_TableNumber"

_FILE = "plan.json"
# A chunk of this many values takes some seconds, small enough to try again and to share out.
_CHUNK_VALUES = 64_000_000


@dataclass(frozen=True)
class Options:
    """What the user may choose about the content of the results.

    `targets` are the compartments wanted, all where it is None. `chunk_size` is in objects; `chunks` asks for that many shares of the plate instead. `table_number` is added to
    every row as `Metadata_TableNumber` where it is given.
    """

    chunk_size: int | None = None
    chunks: int | None = None
    casts: tuple[tuple[str, str], ...] = ()
    targets: tuple[str, ...] | None = None
    table_number: int | None = None
    drop_null: bool = False
    image_features: bool = False

    @classmethod
    def checked(cls, data_type_cast_map: Mapping[str, str] | None = None, **others) -> "Options":
        """Options with the cast map looked through; raises OptionError."""
        return cls(casts=tuple(sorted(checked_casts(data_type_cast_map).items())), **others)


@dataclass(frozen=True)
class TablePlan:
    """A compartment's part of the plan: its source table, how it is read (`reader`, and `reason` where that is not
    the fast way), its columns in the result, its rows."""

    table: SourceTable
    reader: str
    reason: str
    columns: tuple[ResultColumn, ...]
    rows: int

    def result_name(self, source: str) -> str:
        """The name in the result of a source column."""
        return next(column.name for column in self.columns if column.source == source)


@dataclass(frozen=True)
class Plan:
    """`batches` holds, for each chunk, the bounds of its batches as image ordinals."""

    folder: Path
    fingerprint: str
    version: str
    source: Source
    preset: Preset
    options: Options
    tables: tuple[TablePlan, ...]
    images: int
    batches: tuple[tuple[int, ...], ...]

    @property
    def compartments(self) -> tuple[str, ...]:
        return tuple(part.table.compartment for part in self.tables)

    @property
    def chunk_count(self) -> int:
        return len(self.batches)

    def part(self, compartment: str) -> TablePlan:
        for part in self.tables:
            if part.table.compartment == compartment:
                return part
        raise TargetError(f"{self.source.uri}: no compartment {compartment!r}; there are: {', '.join(self.compartments)}")

    def open(self, compartment: str) -> TableReader:
        table = self.part(compartment).table
        keys = self.preset.keys_of(compartment)
        return open_table(self.source.path, table.name, table.columns, keys, self.folder / "spill")

    def rows(self, compartment: str, chunk: int) -> "list[np.ndarray]":
        """Row numbers of each batch of a chunk."""
        import numpy as np

        rows = np.load(self.folder / f"{compartment}.rows.npy", mmap_mode="r")
        bounds = self._row_bounds(compartment)[list(self.batches[chunk])]
        return [np.array(rows[a:b]) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]

    def counts(self, compartment: str, chunk: int) -> "list[np.ndarray]":
        """Rows by image of each batch of a chunk."""
        import numpy as np

        counts = np.load(self.folder / f"{compartment}.counts.npy", mmap_mode="r")
        bounds = self.batches[chunk]
        return [np.array(counts[a:b]) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]

    def _row_bounds(self, compartment: str) -> "np.ndarray":
        import numpy as np

        counts = np.load(self.folder / f"{compartment}.counts.npy", mmap_mode="r")
        return np.concatenate([[0], np.cumsum(counts)])

    def schema(self, compartment: str) -> "pa.Schema":
        """The Arrow schema of a compartment's files."""
        import pyarrow as pa

        fields = [(column.name, pa.type_for_alias(column.type)) for column in self.part(compartment).columns]
        if self.options.table_number is not None:
            fields = [(ADDED_TABLE_NUMBER, pa.int64()), *fields]
        return pa.schema(fields)

    def facts(self) -> dict[str, str]:
        """What the footer of every file tells of its origin."""
        found = {
            "version": self.version,
            "plate": self.source.plate,
            "source_uri": self.source.uri,
            "source_etag": self.source.etag,
            "source_md5": self.source.md5,
            "preset": self.preset.name,
            "options": _json(self.options),
            "fingerprint": self.fingerprint,
        }
        return {name: value for name, value in found.items() if value is not None}


def resolved_preset(
    source: Source,
    preset: Preset | str | None,
    *,
    metadata: Iterable[str] | None = None,
    compartments: Iterable[str] | None = None,
    identifying_columns: Iterable[str] | None = None,
) -> Preset:
    """The preset that a source is converted by: the one given or named, or the one its tables show, as adjusted.

    Raises:
        SourceFormatError, DamagedSourceError: not SQLite, or no preset fits.
        PresetError: no preset of that name, or one that cannot be so adjusted.
    """
    check_is_sqlite(source.path)
    if preset is None:
        tables = read_tables(source.path)
        preset = detect_preset({name: [c.name for c in columns] for name, columns in tables.items()}, source.uri)
    elif isinstance(preset, str):
        preset = preset_named(preset)
    return preset.with_options(
        metadata=metadata, compartments=compartments, identifying_columns=identifying_columns
    )


def make_plan(source: Source, preset: Preset, options: Options, folder: Path) -> Plan:
    """Look through a SQLite plate and decide how it is converted; the plan is kept in `folder`.

    Raises:
        SourceFormatError, DamagedSourceError: not SQLite, or no table of the preset.
        KeyColumnError: key columns or values are missing, or keys repeat.
    """
    import numpy as np

    check_is_sqlite(source.path)
    tables = read_tables(source.path)
    found = wanted_tables(source_tables(tables, preset, source.uri), options.targets, source.uri)
    parts, keys = [], []
    for table in found:
        part, key = _look_through(source, table, preset, options, folder)
        parts.append(part)
        keys.append(key)
    orders, images = chunks.order_rows(keys)
    widest = max(len(table.columns) for table in found)
    if options.chunks is not None:
        bounds = chunks.cut_by_number(orders, options.chunks)
    else:
        bounds = chunks.cut_by_size(orders, options.chunk_size or max(_CHUNK_VALUES // widest, 1))
    folder.mkdir(parents=True, exist_ok=True)
    for compartment, order in orders.items():
        np.save(folder / f"{compartment}.rows.npy", order.rows)
        np.save(folder / f"{compartment}.counts.npy", order.counts)
    plan = Plan(
        folder=folder,
        fingerprint=fingerprint(source, preset, options),
        version=VERSION,
        source=source,
        preset=preset,
        options=options,
        tables=tuple(parts),
        images=images,
        batches=chunks.cut_batches(orders, bounds, widest),
    )
    with whole_file(folder / _FILE) as temporary:
        temporary.write_bytes(_adapter(Plan).dump_json(plan, indent=1))
    return plan


def load_plan(folder: Path) -> Plan:
    """The plan that `make_plan` kept in `folder`; FileNotFoundError where there is none."""
    return _load_plan(folder, (folder / _FILE).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _load_plan(folder: Path, changed: int) -> Plan:  # noqa: ARG001 (the time is part of the cache's key)
    return _adapter(Plan).validate_json((folder / _FILE).read_bytes())


def fingerprint(source: Source, preset: Preset, options: Options) -> str:
    """What the results depend on, as 16 hexadecimal digits."""
    text = "\n".join([source.fingerprint, _json(preset), _json(options), VERSION])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def source_tables(
    tables: Mapping[str, tuple[SourceColumn, ...]], preset: Preset, where: str
) -> tuple[SourceTable, ...]:
    """The tables of a file that the preset speaks of, image first; those that are missing are left out.

    Raises:
        TargetError: none of its compartments is there.
        KeyColumnError: a table lacks a key column.
    """
    names = {name.lower(): name for name in tables}
    found = []
    for compartment in (*preset.metadata, *preset.compartments):
        name = names.get(preset.table_of(compartment).lower())
        if name is None:
            continue
        table = SourceTable(compartment, name, tables[name])
        missing = [key for key in preset.keys_of(compartment) if key not in table.column_names]
        if missing:
            raise KeyColumnError(
                f"{where}: table {name} has no column {missing[0]}, which preset {preset.name} needs as a key; "
                "use another preset= or mend the source"
            )
        found.append(table)
    if not any(table.compartment != IMAGE for table in found):
        wanted = ", ".join(preset.table_of(compartment) for compartment in preset.compartments)
        raise TargetError(
            f"{where}: none of the tables of preset {preset.name} ({wanted}) is there; "
            f"there are: {', '.join(sorted(tables)) or 'none'}"
        )
    return tuple(found)


def wanted_tables(
    found: tuple[SourceTable, ...], targets: Sequence[str] | None, where: str
) -> tuple[SourceTable, ...]:
    """The tables that `targets` name, by compartment or table name in any case.

    Raises:
        TargetError: a target is not there; the message lists those that are.
    """
    if targets is None:
        return found
    by_name = {name.lower(): table for table in found for name in (table.name, table.compartment)}
    for target in targets:
        if target.lower() not in by_name:
            raise TargetError(
                f"{where}: no table is called {target!r}; there are: {', '.join(t.compartment for t in found)}"
            )
    wanted = {by_name[target.lower()] for target in targets}
    return tuple(table for table in found if table in wanted)


def _look_through(
    source: Source, table: SourceTable, preset: Preset, options: Options, folder: Path
) -> tuple[TablePlan, chunks.TableKeys]:
    keys = preset.keys_of(table.compartment)
    reader = open_table(source.path, table.name, table.columns, keys, folder / "spill")
    rows, values = reader.read_keys()
    named = dict(zip(keys, values, strict=True))
    profile = reader.profile()
    kinds = text_kinds(reader, text_candidates(table, preset, profile), rows)
    part = TablePlan(
        table=table,
        reader=reader.reader,
        reason=reader.reason,
        columns=_making_room(result_columns(table, preset, profile, kinds, dict(options.casts)), options),
        rows=len(rows),
    )
    return part, chunks.TableKeys(
        table=table,
        rows=rows,
        table_numbers=named.get(preset.table_number or ""),
        image_numbers=named[preset.image_number],
        object_numbers=named.get(preset.object_number_of(table.compartment) or ""),
    )


def _making_room(columns: tuple[ResultColumn, ...], options: Options) -> tuple[ResultColumn, ...]:
    if options.table_number is None:
        return columns
    return tuple(
        replace(column, name=OWN_TABLE_NUMBER) if column.name == ADDED_TABLE_NUMBER else column
        for column in columns
    )


def _json(record: object) -> str:
    import json

    return json.dumps(asdict(record), sort_keys=True, separators=(",", ":"))  # type: ignore[call-overload]


def _adapter(kind: type):
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
