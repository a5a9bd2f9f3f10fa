"""The catalog of a warehouse: pyiceberg's own in SQLite, and beside it `catalog.json`, which CytoTable reads.

A commit changes the SQLite file in one transaction; the other is written after it, and is behind for a moment, or for
good where a run was killed there, until the next run. Views are in it alone: pyiceberg's catalog in SQLite has none.
"""

import errno
import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from cytotable_dagster.core.errors import (
    CytoTableError,
    DestinationInUseError,
    DiskFullError,
    FileAccessError,
    OptionError,
    SourceFormatError,
    SourceNotFoundError,
)
from cytotable_dagster.core.support.files import whole_file
from cytotable_dagster.core.support.leftovers import temporary_folder
from cytotable_dagster.core.version import VERSION

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.table import Table

DATABASE, REGISTRY = "catalog.db", "catalog.json"
# CytoTable's names.
PROFILES_SPACE, IMAGES_SPACE = "profiles", "images"
PROFILES = f"{PROFILES_SPACE}.joined_profiles"
IMAGE_TABLE_NAME, SOURCE_IMAGE_TABLE_NAME = "image_crops", "source_images"
CROPS, SOURCE_IMAGES = f"{IMAGES_SPACE}.{IMAGE_TABLE_NAME}", f"{IMAGES_SPACE}.{SOURCE_IMAGE_TABLE_NAME}"
VIEW_KIND = "profile_with_images"
VIEW = f"{PROFILES_SPACE}.{VIEW_KIND}"
# Where each table's metadata are, in pyiceberg's database.
_POINTERS = "SELECT table_namespace, table_name, metadata_location FROM {}.iceberg_tables ORDER BY 1, 2"
_BELOW = "warehouse"
_NAME = "cytotable"
_SHOWN = 200
# Seconds that a lock of another program is waited for.
WAITED = 5.0


@dataclass(frozen=True)
class Registry:
    """What `catalog.json` says: where each table's newest metadata are, and the views."""

    tables: Mapping[str, str] = field(default_factory=dict)
    views: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def check_package(*others: str) -> None:
    """Raises OptionError: pyiceberg, or another package that is needed, is not installed, or broken."""
    for name in ("pyiceberg.catalog.sql", *others):
        try:
            import_module(name)
        except Exception as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())[:_SHOWN]
            raise OptionError(
                f"Iceberg needs packages that cannot be imported ({told}); pip install 'cytotable-dagster[iceberg]'"
            ) from error


def is_warehouse(root: Path) -> bool:
    return (root / DATABASE).exists() or (root / REGISTRY).exists()


def warehouse_at(path: str | Path) -> Path:
    """The folder of a warehouse, given that or, as CytoTable has it, the one around it.

    Raises:
        SourceNotFoundError: there is none.
    """
    for root in (Path(path), Path(path) / _BELOW):
        if is_warehouse(root):
            return root.absolute()
    raise SourceNotFoundError(f"{path}: no warehouse is there (no {DATABASE}, no {REGISTRY}); check the path")


def read_registry(root: Path) -> Registry:
    """Raises SourceFormatError: it is damaged."""
    path = root / REGISTRY
    if not path.exists():
        return Registry()
    try:
        told = json.loads(path.read_text())
        return Registry(dict(told["tables"]), dict(told.get("views", {})))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SourceFormatError(
            f"{path}: damaged ({error}); remove it: the next run makes it anew from {DATABASE}"
        ) from error


def begin(root: Path) -> bool:
    """Make a folder known for a warehouse, before anything lies in it; whether it is a new one."""
    if is_warehouse(root):
        return False
    root.mkdir(parents=True, exist_ok=True)
    with whole_file(root / REGISTRY) as temporary:
        temporary.write_text(json.dumps({"tables": {}}))
    return True


def save_registry(root: Path, catalog: "SqlCatalog") -> None:
    """Write `catalog.json` as the catalog is, with the view of profiles and crops where both are there."""
    with catalog.engine.connect() as link:
        found = link.exec_driver_sql(_POINTERS.format("main"))
        tables = {f"{space}.{name}": location for space, name, location in found}
    views = dict(read_registry(root).views)
    if tables.keys() >= {PROFILES, CROPS}:
        views[VIEW] = {"kind": VIEW_KIND, "base_table": PROFILES, "image_table": CROPS, "bbox_column_map": {}}
    told = {
        "namespaces": sorted({*(name.rpartition(".")[0] for name in tables), PROFILES_SPACE}),
        "properties": {"data-producer": "cytotable_dagster", "data-producer-version": VERSION},
        "tables": tables,
        "views": views,
    }
    with whole_file(root / REGISTRY) as temporary:
        temporary.write_text(json.dumps(told, indent=2, sort_keys=True))


@contextmanager
def open_catalog(root: Path, staged: Path | None = None) -> "Iterator[SqlCatalog]":
    """The catalog of a warehouse, made where there is none: of what `catalog.json` tells, or empty.

    Args:
        staged: the file to take for its database.

    Raises:
        SourceFormatError: one of its files is damaged, or it lacks a table. DestinationInUseError: it is locked.
        DiskFullError, FileAccessError: it cannot be written.
    """
    from pyiceberg.catalog.sql import SqlCatalog

    database = staged or root / DATABASE
    told = read_registry(root).tables
    catalog = None
    try:
        with _database_told(root):
            made = not (root / DATABASE).exists()
            catalog = SqlCatalog(_NAME, uri=f"sqlite:///{database}?timeout={WAITED}", warehouse=root.as_uri())
            for name, location in told.items() if made else ():
                catalog.create_namespace_if_not_exists(name.rpartition(".")[0])
                catalog.register_table(name, location)
            if lacking := sorted(told.keys() - {*table_names(catalog)}):
                raise SourceFormatError(
                    f"{root / DATABASE}: damaged, as it lacks {lacking[0]}, which {REGISTRY} has; remove it, and the "
                    f"next run makes it anew; or remove {REGISTRY}, if that table was dropped"
                )
            yield catalog
    finally:
        if catalog is not None:
            catalog.close()


@contextmanager
def changed_together(root: Path) -> "Iterator[SqlCatalog]":
    """The catalog of a warehouse, made where there is none, to change several tables of: all of that becomes so in one
    transaction when the block ends, or none of it.

    Raises:
        DestinationInUseError: another program changed it meanwhile, or holds it.
        SourceFormatError: one of its files is damaged.
    """
    now = root / DATABASE
    with temporary_folder("catalog") as folder:
        staged = folder / DATABASE
        if now.exists():
            with _database_told(root), closing(_connected(now)) as there, closing(_connected(staged)) as copy:
                # A lock of another program is waited for here: `backup` would wait for ever.
                there.execute("BEGIN")
                there.execute(_POINTERS.format("main")).fetchall()
                there.backup(copy)
                before = copy.execute(_POINTERS.format("main")).fetchall()
        with open_catalog(root, staged) as catalog:
            yield catalog
        if not now.exists():
            with whole_file(now) as temporary:
                shutil.copyfile(staged, temporary)
            return
        with _database_told(root), closing(_connected(now)) as link:
            link.execute("ATTACH DATABASE ? AS staged", (str(staged),))
            link.execute("BEGIN IMMEDIATE")
            if link.execute(_POINTERS.format("main")).fetchall() != before:
                raise DestinationInUseError(f"{root}: another program changed its tables meanwhile; run it again")
            for table in ("iceberg_tables", "iceberg_namespace_properties"):
                link.execute(f"INSERT OR REPLACE INTO main.{table} SELECT * FROM staged.{table}")
            link.execute("COMMIT")


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=WAITED, isolation_level=None)


@contextmanager
def _database_told(root: Path) -> Iterator[None]:
    """What is wrong with the database, in one line."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        own = error.orig if isinstance(error, DBAPIError) else error
        told = " ".join(str(own).split())[:_SHOWN]
        # https://www.sqlite.org/rescode.html; the first part of an extended name.
        kind = "_".join(str(getattr(own, "sqlite_errorname", "")).split("_")[:2])
        if kind in ("SQLITE_BUSY", "SQLITE_LOCKED"):
            raise DestinationInUseError(f"{root / DATABASE}: another program holds it ({told}); try again") from error
        if kind == "SQLITE_FULL":
            raise DiskFullError(f"{root / DATABASE}: the disk is full ({told}); make room, and run it again") from error
        if kind in ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_IOERR"):
            raise FileAccessError(
                f"{root / DATABASE}: cannot be read or written ({told}); give the rights, or make room"
            ) from error
        raise SourceFormatError(
            f"{root / DATABASE}: no catalog, or a damaged one ({told}); remove it: the next run makes it anew from "
            f"{REGISTRY}"
        ) from error


def table_names(catalog: "SqlCatalog") -> list[str]:
    """All tables, as `profiles.joined_profiles`."""
    return sorted(".".join(table) for space in catalog.list_namespaces() for table in catalog.list_tables(space))


@contextmanager
def damage_told(where: str) -> Iterator[None]:
    """What is wrong with a table's files, in one line; they are read by others' code, which ends in any error.

    Raises:
        SourceFormatError: one is damaged or not there.
    """
    try:
        yield
    except (CytoTableError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT, errno.EINVAL):
            raise
        told = " ".join(f"{type(error).__name__}: {error}".split())[:_SHOWN]
        raise SourceFormatError(f"{where}: its files are damaged or not there ({told}); restore them") from error


def load_table(catalog: "SqlCatalog", name: str, root: Path) -> "Table":
    """A table to write to.

    Raises:
        SourceFormatError: it is damaged, or lies elsewhere.
    """
    with damage_told(f"{root}: table {name}"):
        table = catalog.load_table(name)
    place = Path(unquote(urlsplit(table.location()).path))
    if not place.resolve().is_relative_to(root.resolve()):
        raise SourceFormatError(
            f"{root / DATABASE}: is the catalog of another warehouse, as {name} lies at {place}; a warehouse is read "
            "and written where it was made: put it back there, or make a new one"
        )
    return table
