"""Plates of single-cell measurements to Parquet, and every step of it visible in Dagster."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cytotable_dagster import errors
from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.model.presets import PRESETS, Preset
from cytotable_dagster.core.version import VERSION as __version__

if TYPE_CHECKING:
    from cytotable_dagster import datasets
    from cytotable_dagster.core.convert import convert
    from cytotable_dagster.core.images import CropDataset, crops, find_provenance, read_crops, save_crops
    from cytotable_dagster.core.inspection import inspect_plate
    from cytotable_dagster.core.reports.results import ConversionResult, PlatesResult

__all__ = [
    "PRESETS",
    "ConversionResult",
    "CropDataset",
    "CytoTableError",
    "PlatesResult",
    "Preset",
    "__version__",
    "convert",
    "crops",
    "datasets",
    "errors",
    "find_provenance",
    "inspect_plate",
    "read_crops",
    "save_crops",
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
    "convert": "core.convert",
    "inspect_plate": "core.inspection",
}


def __getattr__(name: str) -> Any:
    if name == "datasets":
        return import_module("cytotable_dagster.datasets")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"cytotable_dagster.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return __all__
