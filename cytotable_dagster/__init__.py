"""Plates of single-cell measurements to Parquet, and every step of it visible in Dagster."""

from cytotable_dagster.core import errors
from cytotable_dagster.core.convert import convert
from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.presets import PRESETS, Preset
from cytotable_dagster.core.report import ConversionResult
from cytotable_dagster.core.version import VERSION as __version__

__all__ = ["PRESETS", "ConversionResult", "CytoTableError", "Preset", "__version__", "convert", "errors"]
