"""What Dagster loads."""

from cytotable_dagster.defs.build import build_defs

defs = build_defs()
