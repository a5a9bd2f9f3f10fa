"""The way back from a cell to its pixels.

Provenance finds the file of each image and channel that a plate's tables name, and says whether it is the one that was
measured. Other code imports from here and from no module inside.
"""

from cytotable_dagster.core.images.finding import find_provenance, put_provenance
from cytotable_dagster.core.images.image import (
    AMBIGUOUS,
    MISMATCH,
    MISSING,
    PRESENT,
    STATUSES,
    UNMAPPED,
    USABLE,
    VERIFIED,
    Image,
)
from cytotable_dagster.core.images.provenance import (
    FILE,
    Provenance,
    provenance_of,
    provenance_of_plates,
)
from cytotable_dagster.core.images.search import VERIFY, Rules, Search

__all__ = [
    "AMBIGUOUS",
    "FILE",
    "MISMATCH",
    "MISSING",
    "PRESENT",
    "STATUSES",
    "UNMAPPED",
    "USABLE",
    "VERIFIED",
    "VERIFY",
    "Image",
    "Provenance",
    "Rules",
    "Search",
    "find_provenance",
    "provenance_of",
    "provenance_of_plates",
    "put_provenance",
]
