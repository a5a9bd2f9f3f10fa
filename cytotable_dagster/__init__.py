"""Plates of single-cell measurements to Parquet, and every step of it visible in Dagster."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cytotable_dagster import errors
from cytotable_dagster.core.model.cytotable_config import config
from cytotable_dagster.core.model.presets import PRESETS, Preset
from cytotable_dagster.core.version import VERSION as __version__
from cytotable_dagster.errors import (
    CytoTableError,
    CytoTableException,
    DatatypeException,
    NoInputDataException,
    SchemaException,
)

if TYPE_CHECKING:
    from cytotable_dagster import datasets, warehouse
    from cytotable_dagster.core.about.trace import Trace, trace
    from cytotable_dagster.core.convert import convert
    from cytotable_dagster.core.images import CropDataset, crops, find_provenance, read_crops, save_crops
    from cytotable_dagster.core.inspection import inspect_plate
    from cytotable_dagster.core.reports.results import ConversionResult, PlatesResult
    from cytotable_dagster.warehouse import (
        IMAGE_TABLE_NAME,
        describe_iceberg_warehouse,
        list_iceberg_tables,
        list_tables,
        object_id,
        read_iceberg_table,
        read_table,
        write_iceberg_warehouse,
    )

__all__ = [
    "IMAGE_TABLE_NAME",
    "PRESETS",
    "ConversionResult",
    "CropDataset",
    "CytoTableError",
    "CytoTableException",
    "DatatypeException",
    "NoInputDataException",
    "PlatesResult",
    "Preset",
    "SchemaException",
    "Trace",
    "__version__",
    "config",
    "convert",
    "crops",
    "datasets",
    "describe_iceberg_warehouse",
    "errors",
    "find_provenance",
    "inspect_plate",
    "list_iceberg_tables",
    "list_tables",
    "object_id",
    "read_crops",
    "read_iceberg_table",
    "read_table",
    "save_crops",
    "trace",
    "warehouse",
    "write_iceberg_warehouse",
]

# What converts comes with Arrow, a third of a second, and is loaded when it is first named.
_LATER = {
    "ConversionResult": "core.reports.results",
    "CropDataset": "core.images",
    "PlatesResult": "core.reports.results",
    "crops": "core.images",
    "find_provenance": "core.images",
    "read_crops": "core.images",
    "save_crops": "core.images",
    "Trace": "core.about.trace",
    "trace": "core.about.trace",
    "convert": "core.convert",
    "inspect_plate": "core.inspection",
    "IMAGE_TABLE_NAME": "warehouse",
    "describe_iceberg_warehouse": "warehouse",
    "list_iceberg_tables": "warehouse",
    "list_tables": "warehouse",
    "object_id": "warehouse",
    "read_iceberg_table": "warehouse",
    "read_table": "warehouse",
    "write_iceberg_warehouse": "warehouse",
}


def __getattr__(name: str) -> Any:
    if name in ("datasets", "warehouse"):
        return import_module(f"cytotable_dagster.{name}")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"cytotable_dagster.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return __all__
