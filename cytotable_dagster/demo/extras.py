"""The optional packages of the demo, imported when they are first used."""

import importlib
from types import ModuleType

from cytotable_dagster.core.errors import CytoTableError


class MissingExtraError(CytoTableError, ImportError):
    """A package of the extra `demo` is not installed."""


def need(module: str) -> ModuleType:
    """The module of this name, imported.

    Raises:
        MissingExtraError: its package is not installed; the message says what to install.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.split(".")[0]
        if error.name is None or error.name.split(".")[0] != package:
            raise
        raise missing(package) from error


def missing(package: str) -> MissingExtraError:
    return MissingExtraError(f"the demo needs {package}, which is not installed: pip install 'cytotable-dagster[demo]'")
