"""The check of files that were found and cannot be plates; see `refusals`."""

from collections.abc import Iterator

import dagster as dg

from cytotable_dagster.core.intake.listing import listing
from cytotable_dagster.defs.assets.common import PLATE_SOURCE
from cytotable_dagster.defs.assets.faults import step
from cytotable_dagster.defs.assets.unchecked import log_check
from cytotable_dagster.defs.refusals import UPLOADS_ACCEPTED, after_look, evaluation, refused_now
from cytotable_dagster.defs.resources import PlateSource


def uploads_accepted_check() -> dg.AssetChecksDefinition:
    spec = dg.AssetCheckSpec(
        UPLOADS_ACCEPTED.name,
        asset=PLATE_SOURCE,
        description="No file that the sensor or the schedule found is refused: empty, not what its name says, of a "
        "name that is taken. An error while there is one; it goes when the file is replaced, removed, or its plate "
        "added by hand.",
    )

    @dg.multi_asset_check(name=UPLOADS_ACCEPTED.name, specs=[spec], can_subset=True)
    def uploads_accepted(
        context: dg.AssetCheckExecutionContext, plate_files: PlateSource
    ) -> Iterator[dg.AssetCheckResult]:
        """Look whether the files are still there; one that was replaced is taken up by the sensor."""
        with step(context), listing(plate_files.pattern(), plate_files.copies().store) as source:
            log_check(context, evaluation(after_look(source, refused_now(context.instance), [], [])))
        yield from ()

    return uploads_accepted
