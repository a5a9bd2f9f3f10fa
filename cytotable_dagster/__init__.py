"""Plates of single-cell measurements to Parquet, and every step of it visible in Dagster."""

from typing import TYPE_CHECKING, Any

from cytotable_dagster.core import errors
from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.presets import PRESETS, Preset
from cytotable_dagster.core.version import VERSION as __version__

if TYPE_CHECKING:
    from cytotable_dagster.core.convert import convert
    from cytotable_dagster.core.report import ConversionResult

__all__ = ["PRESETS", "ConversionResult", "CytoTableError", "Preset", "__version__", "convert", "errors"]


def __getattr__(name: str) -> Any:
    """What converts comes with Arrow, a third of a second, and is loaded when it is first named."""
    if name == "convert":
        from cytotable_dagster.core.convert import convert

        return convert
    if name == "ConversionResult":
        from cytotable_dagster.core.report import ConversionResult

        return ConversionResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
