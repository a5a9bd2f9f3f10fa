"""What a user names as `module:name`: something in a module of their own, installed or in the folder one works in."""

import importlib
import sys
from pathlib import Path
from typing import Any

from cytotable_dagster.core.errors import OptionError


def loaded(address: str, called: str, otherwise: str) -> Any:
    """What is at `module:name`; a function is called for it.

    Args:
        called: how the setting with that address is called, for the message.
        otherwise: what can be given instead.

    Raises:
        OptionError: there is no such thing, or its function failed.
    """
    # Neither programs of an environment nor Dagster's servers look into the folder that they were started in.
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    module, _, name = address.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:
        # Whatever the user's module raises while it is imported.
        raise OptionError(f"{called}: cannot be loaded ({_line(error)}); {otherwise}") from error
    if not callable(found):
        return found
    try:
        return found()
    except Exception as error:
        raise OptionError(f"{called}: failed ({_line(error)})") from error


def _line(error: Exception) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ImportError | AttributeError | ValueError) else f"{type(error).__name__}: {text}"
