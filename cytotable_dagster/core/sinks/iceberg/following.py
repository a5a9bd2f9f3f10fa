"""A warehouse kept in step with a dataset: plates that are new there are put in, those that are gone are taken out."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.conversion.place import place_and_name
from cytotable_dagster.core.datasets.members import Member, Table
from cytotable_dagster.core.errors import SchemaError
from cytotable_dagster.core.sinks.iceberg.carrying import carry_images
from cytotable_dagster.core.sinks.iceberg.catalog import (
    PROFILES,
    begin,
    changed_together,
    check_package,
    is_warehouse,
    load_table,
    open_catalog,
    save_registry,
)
from cytotable_dagster.core.sinks.iceberg.data_files import mark_of
from cytotable_dagster.core.sinks.iceberg.rows import box_columns, profile_rows
from cytotable_dagster.core.sinks.iceberg.tables import Rows, drop_from_all, drop_plate, plates_in, put_plate
from cytotable_dagster.core.sinks.iceberg.upkeep import clean
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.support.telling import tell

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog


@dataclass(frozen=True)
class Followed:
    """What became of a warehouse: how much it has, and plates that came, changed and went. `left_out` are plates whose
    columns have other types than it has, with the reason; what was there of them stays. `uncropped` are plates that
    changed, and how many of their objects have no crop where others have."""

    root: Path
    plates: int
    rows: int
    columns: int
    snapshot: int | None
    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    uncropped: tuple[tuple[str, int], ...] = ()


def follow_dataset(root: Path, table: Table) -> Followed:
    """Bring a warehouse's profiles up to a dataset's table of single cells; each plate that differs is one commit.
    Crops of objects that are still there, with the same box, stay.

    Raises:
        OptionError: pyiceberg is not installed.
        DestinationExistsError: what is there is no warehouse. DestinationInUseError: another process writes to it.
        SourceFormatError: it is damaged.
    """
    check_package()
    root = root.absolute()
    place, name = place_and_name(root, Store())
    left_out: dict[str, str] = {}
    with place.writing(name) as claim:
        clean(root)
        there = _there(root)
        wanted = {plate: _mark(member) for plate, member in table.members.items()}
        differ = [plate for plate, mark in wanted.items() if there.get(plate) != mark]
        gone = tuple(sorted(there.keys() - wanted.keys()))
        begin(root)
        uncropped: dict[str, int] = {}

        def put(catalog: "SqlCatalog", plate: str) -> None:
            put_plate(catalog, PROFILES, plate, _rows(table, plate), root, wanted[plate])
            uncropped[plate] = carry_images(catalog, plate, root) if plate in there else 0

        # Those that are gone come first: what they had is held against no other.
        for number, plate in enumerate((*gone, *differ), start=1):
            claim.check()
            try:
                with changed_together(root) as catalog:
                    if plate in wanted:
                        put(catalog, plate)
                    else:
                        drop_from_all(catalog, plate, root)
            except SchemaError as error:
                left_out[plate] = str(error)
            tell("plates put into the warehouse", number, len(differ) + len(gone))
        if len(left_out) > 1:
            # They may be in each other's way, by what is there of them.
            with suppress(SchemaError), changed_together(root) as catalog:
                for plate in left_out:
                    drop_plate(catalog, PROFILES, plate, root)
                for plate in left_out:
                    put(catalog, plate)
                left_out = {}
        with open_catalog(root) as catalog:
            save_registry(root, catalog)
    done = [plate for plate in differ if plate not in left_out]
    return replace(
        _told(root),
        added=tuple(plate for plate in done if plate not in there),
        replaced=tuple(plate for plate in done if plate in there),
        removed=gone,
        left_out=tuple(left_out.items()),
        uncropped=tuple((plate, count) for plate, count in uncropped.items() if count and plate in done),
    )


def _told(root: Path) -> Followed:
    with open_catalog(root) as catalog:
        if not catalog.table_exists(PROFILES):
            return Followed(root, 0, 0, 0, None)
        profiles = load_table(catalog, PROFILES, root)
        plates = plates_in(profiles)
        now = profiles.current_snapshot()
        rows = sum(file.record_count for files in plates.values() for file in files)
        columns = len(profiles.schema().fields)
    return Followed(root, len(plates), rows, columns, now.snapshot_id if now else None)


def _there(root: Path) -> Mapping[str, str]:
    """The plates of a warehouse, and what each was made of."""
    if not is_warehouse(root):
        return {}
    with open_catalog(root) as catalog:
        if not catalog.table_exists(PROFILES):
            return {}
        return {plate: mark_of(files[0]) for plate, files in plates_in(load_table(catalog, PROFILES, root)).items()}


def _mark(member: Member) -> str:
    """What tells a plate's file from what it was."""
    told = f"{member.fingerprint or member.origin or member.size} {sorted(member.content.columns)}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _rows(table: Table, plate: str) -> Rows:
    import pyarrow.parquet as pq

    opened = partial(table.dest.open, table.file_of(plate))
    with opened() as file:
        schema = pq.read_schema(file)
    return profile_rows(plate, [opened], schema, box_columns(schema.names))
