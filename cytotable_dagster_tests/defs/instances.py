"""Dagster instances for fixtures."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg


@contextmanager
def opened(instance: dg.DagsterInstance) -> Iterator[dg.DagsterInstance]:
    """An instance until the block ends.

    Its own context manager sets a variable of the process that has to be set back in order, and fixtures of different
    scopes end in any: definitions would then be loaded with the state of an instance that is gone.
    """
    try:
        yield instance
    finally:
        instance.dispose()
