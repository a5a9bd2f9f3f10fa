"""What Dagster loads."""

from cytotable_dagster.build import build_defs

defs = build_defs()
