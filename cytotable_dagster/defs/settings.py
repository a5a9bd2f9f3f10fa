"""Settings of resources: a field that is not configured is looked up in the environment when a run needs it, never
before."""

import os
from typing import overload

WAREHOUSE = "CYTOTABLE_WAREHOUSE"


@overload
def setting(configured: str | None, variable: str, default: str) -> str: ...
@overload
def setting(configured: str | None, variable: str, default: None = None) -> str | None: ...
def setting(configured: str | None, variable: str, default: str | None = None) -> str | None:
    """What a field says, else the variable, else the default; empty is nothing."""
    return configured or os.environ.get(variable) or default
