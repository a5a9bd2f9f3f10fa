"""A plate's file that is still coming from a store: what can be read of it meanwhile, and who is told."""

from cytotable_dagster.core.sources.sqlite.ahead import Ahead, keep, look_ahead

__all__ = ["Ahead", "keep", "look_ahead"]
