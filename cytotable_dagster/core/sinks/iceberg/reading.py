"""Reading of warehouses, of this converter and of CytoTable, and of Parquet, by CytoTable's functions."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.conversion.place import place_and_name
from cytotable_dagster.core.errors import OptionError, SourceNotFoundError, TargetError
from cytotable_dagster.core.sinks.iceberg.catalog import (
    DATABASE,
    PROFILES,
    PROFILES_SPACE,
    VIEW_KIND,
    Registry,
    changed_together,
    check_package,
    damage_told,
    open_catalog,
    read_registry,
    save_registry,
    table_names,
    warehouse_at,
)
from cytotable_dagster.core.sinks.iceberg.tables import drop_from_all, plates_in
from cytotable_dagster.core.sinks.iceberg.views import profiles_with_images
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.support.suggestions import there_are

if TYPE_CHECKING:
    import pandas as pd
    from pyiceberg.table import Table


def list_tables(path: str | Path, *, include_views: bool = True) -> list[str]:
    """The tables of a warehouse (`profiles.joined_profiles`), or the one that a Parquet file or folder is.

    Raises:
        SourceNotFoundError: nothing is there. SourceFormatError: the warehouse is damaged.
    """
    if _is_parquet(path):
        return [Path(path).stem if Path(path).suffix == ".parquet" else Path(path).name]
    with _opened(path) as (tables, registry):
        return sorted([*tables, *(registry.views if include_views else ())])


def read_table(path: str | Path, table_name: str | None = None) -> "pd.DataFrame":
    """A table or view of a warehouse as it is at this moment, or a Parquet file or folder.

    Args:
        table_name: with its namespace or without; may be left out where there is but one.

    Raises:
        SourceNotFoundError: nothing is there. TargetError: no table of that name.
        OptionError: there are several, and none is named. SourceFormatError: the warehouse is damaged.
    """
    import pyarrow.parquet as pq

    if _is_parquet(path):
        (own,) = list_tables(path)
        if table_name not in (None, own, Path(path).name):
            raise TargetError(f"{path}: no table is called {table_name!r}; there is: {own}")
        return pq.read_table(path).to_pandas()
    with _opened(path) as (tables, registry):
        name = _named(table_name, [*tables, *registry.views], path)
        view = registry.views.get(name)
        if view is not None and view.get("kind") != VIEW_KIND:
            raise TargetError(f"{path}: {name} is a view of another kind; read the tables that it joins")
        wanted = [name] if view is None else [view["base_table"], view["image_table"]]
        with damage_told(f"{path}: {name}"):
            found = [tables[own].scan().to_arrow().to_pandas() for own in wanted]
    return found[0] if view is None else profiles_with_images(*found)


def describe_iceberg_warehouse(warehouse_path: str | Path, include_views: bool = True) -> "pd.DataFrame":
    """The tables of a warehouse: name, rows, data files, snapshot, and whether it is a table or a view.

    Raises:
        SourceNotFoundError: nothing is there. SourceFormatError: it is damaged.
    """
    import pandas as pd

    with _opened(warehouse_path) as (tables, registry):
        rows: list[dict[str, object]] = []
        for name, table in tables.items():
            with damage_told(f"{warehouse_path}: table {name}"):
                files = [task.file for task in table.scan().plan_files()]
            now = table.current_snapshot()
            rows.append(
                {
                    "table": name,
                    "rows": sum(file.record_count for file in files),
                    "data_files": len(files),
                    "snapshot_id": now.snapshot_id if now else None,
                    "kind": "table",
                }
            )
        for name in registry.views if include_views else ():
            rows.append({"table": name, "rows": None, "data_files": 0, "snapshot_id": None, "kind": "view"})
    columns = ["table", "rows", "data_files", "snapshot_id", "kind"]
    return pd.DataFrame(rows, columns=columns).sort_values("table").reset_index(drop=True)


def warehouse_plates(path: str | Path) -> list[str]:
    """The plates of a warehouse that `convert` made, by name.

    Raises:
        SourceNotFoundError: nothing is there. SourceFormatError: it is damaged.
    """
    with _opened(path) as (tables, _):
        return sorted({plate for table in tables.values() for plate in plates_in(table)})


def remove_plate(path: str | Path, plate: str) -> None:
    """Take a plate out of a warehouse; of each table in one commit, so that readers see it whole or not at all.

    Raises:
        SourceNotFoundError: nothing is there, or no such plate. SourceFormatError: it is damaged.
    """
    check_package()
    root = warehouse_at(path)
    if not (root / DATABASE).exists():
        raise OptionError(f"{path}: a warehouse of CytoTable, whose plates cannot be told apart")
    place, name = place_and_name(root, Store())
    with place.writing(name):
        with changed_together(root) as catalog:
            found = drop_from_all(catalog, plate, root)
        with open_catalog(root) as catalog:
            save_registry(root, catalog)
    if not found:
        known = warehouse_plates(path)
        raise SourceNotFoundError(f"{path}: no plate is called {plate!r}; {there_are(plate, known)}")


@contextmanager
def _opened(path: str | Path) -> "Iterator[tuple[dict[str, Table], Registry]]":
    """The tables of a warehouse and its registry; nothing is written."""
    from pyiceberg.table import StaticTable

    check_package("pandas")
    root = warehouse_at(path)
    registry = read_registry(root)
    if (root / DATABASE).exists():
        with open_catalog(root) as catalog:
            with damage_told(str(path)):
                tables = {name: catalog.load_table(name) for name in table_names(catalog)}
            yield tables, registry
    else:
        with damage_told(str(path)):
            static = {name: StaticTable.from_metadata(where) for name, where in sorted(registry.tables.items())}
        yield dict(static), registry


def _is_parquet(path: str | Path) -> bool:
    """Raises SourceNotFoundError: nothing is there."""
    try:
        warehouse_at(path)
    except SourceNotFoundError:
        if not Path(path).exists():
            raise SourceNotFoundError(f"{path}: no such file or folder") from None
        return True
    return False


def _named(name: str | None, there: list[str], path: str | Path) -> str:
    if name is None:
        if len(there) == 1:
            return there[0]
        raise OptionError(f"{path}: table_name= is needed; there are: {', '.join(sorted(there)) or 'none'}")
    found = [own for own in there if own in (name, f"{PROFILES_SPACE}.{name}")]
    found = found or [own for own in there if own.rpartition(".")[2] == name]
    if len(found) != 1:
        raise TargetError(f"{path}: no table is called {name!r}; {there_are(name, there)}")
    return found[0]


__all__ = ["PROFILES", "describe_iceberg_warehouse", "list_tables", "read_table", "remove_plate", "warehouse_plates"]
