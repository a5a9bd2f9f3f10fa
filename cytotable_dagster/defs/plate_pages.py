"""What the pages of a plate's tables show beside facts: pictures of its wells and features, kept beside the tables."""

from typing import Any

import dagster as dg

from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.model.types import SINGLE_CELLS
from cytotable_dagster.core.pictures.drawing import png as png_of
from cytotable_dagster.core.pictures.plate_numbers import plate_numbers
from cytotable_dagster.core.pictures.plate_pictures import counts_figure, features_figure
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.defs.page_pictures import in_page

Metadata = dict[str, Any]


def table_pictures(
    instance: dg.DagsterInstance, plan: Plan, folder: PlateFolder, place: Destination, table: str
) -> tuple[Metadata, int]:
    """Pictures of a table as metadata, the first for the top of its page, and how many wells it has images of.

    Args:
        place: where the plate's results are, in whose `_about/` the pictures are kept.
    """
    numbers = plate_numbers(plan, table, folder.open, measured=table == SINGLE_CELLS)
    what = {SINGLE_CELLS: "cells", IMAGE: "images"}.get(table, table.lower())
    plate = plan.source.plate
    drawn = {
        f"{what} per well": (counts_figure(numbers, f"{plate}: {what} per well", what), f"{what} per well of {plate}")
    }
    if table == SINGLE_CELLS:
        drawn["missing values and features"] = features_figure(numbers), f"missing values and features of {plate}"
    shown: Metadata = {}
    for name, (figure, words) in drawn.items():
        if figure is not None:
            png = png_of(figure)
            place.keep(png, f"_about/{table}_{name.replace(' ', '_')}.png")
            shown[name] = in_page(instance, png, words)
    return shown, len(numbers.imaged)
