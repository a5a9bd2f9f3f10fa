"""How much of a plate may not match before a check turns yellow."""

import math
import os
from dataclasses import dataclass

import dagster as dg
from pydantic import Field

from cytotable_dagster.core.errors import OptionError

# A cell without nucleus is a loss; nuclei without cell are usual: segmentation leaves out what touches the border.
_UNMATCHED, _LEFT_OVER = 1.0, 50.0


@dataclass(frozen=True)
class Limits:
    """Percentages: of the rows of single cells that lack their cell, nucleus or image, and of a compartment's objects,
    or the images, that are in no row of single cells."""

    unmatched: float = _UNMATCHED
    left_over: float = _LEFT_OVER


class CheckLimits(dg.ConfigurableResource):
    """What the checks of plates take for usual."""

    unmatched_percent: float | None = Field(
        default=None,
        description="Rows of single cells that may lack their cell, nucleus or image. Default: "
        "CYTOTABLE_UNMATCHED_PERCENT, else 1.",
    )
    left_over_percent: float | None = Field(
        default=None,
        description="Objects of a compartment, or images, that may be in no row of single cells. Default: "
        "CYTOTABLE_LEFT_OVER_PERCENT, else 50.",
    )

    def limits(self) -> Limits:
        """The percentages.

        Raises:
            OptionError: one that is none.
        """
        return Limits(
            _percent(self.unmatched_percent, "CYTOTABLE_UNMATCHED_PERCENT", _UNMATCHED),
            _percent(self.left_over_percent, "CYTOTABLE_LEFT_OVER_PERCENT", _LEFT_OVER),
        )


def _percent(configured: float | None, variable: str, default: float) -> float:
    text = os.environ.get(variable) if configured is None else str(configured)
    try:
        number = float(text) if text else default
    except ValueError:
        number = math.nan
    if not 0 <= number <= 100:
        raise OptionError(f"{variable}={text!r}: give a percentage from 0 to 100")
    return number
