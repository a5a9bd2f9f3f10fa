"""Warehouses of Iceberg tables, for people and programs: what is in one, its tables, its plates.

`convert(..., dest_backend="iceberg")` makes one and adds plates. pyiceberg, polars and pandas read it without this
module; its functions have CytoTable's names, and read CytoTable's warehouses too.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.sinks import (
    IMAGE_TABLE_NAME,
    SOURCE_IMAGE_TABLE_NAME,
    describe_iceberg_warehouse,
    list_tables,
    object_id,
    read_table,
    remove_plate,
)
from cytotable_dagster.core.sinks import warehouse_plates as plates

if TYPE_CHECKING:
    from cytotable_dagster.core.reports.results import ConversionResult

__all__ = [
    "IMAGE_TABLE_NAME",
    "SOURCE_IMAGE_TABLE_NAME",
    "describe_iceberg_warehouse",
    "list_iceberg_tables",
    "list_tables",
    "object_id",
    "plates",
    "read_iceberg_table",
    "read_table",
    "remove_plate",
    "write_iceberg_warehouse",
]

list_iceberg_tables = list_tables
read_iceberg_table = read_table


def write_iceberg_warehouse(source_path: str | Path, warehouse_path: str | Path, **options: Any) -> "ConversionResult":
    """`convert(source_path, warehouse_path, dest_backend="iceberg", **options)`."""
    from cytotable_dagster.core.convert import convert

    return convert(source_path, warehouse_path, dest_backend="iceberg", **options)
