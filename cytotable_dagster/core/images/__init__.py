"""The way back from a cell to its pixels.

Provenance finds the file of each image and channel that a plate's tables name, and says whether it is the one that was
measured; crops are the pixels of single cells, read when they are asked for, or kept in Lance. Other code imports from
here and from no module inside.
"""

from cytotable_dagster.core.images.boxes import centre_columns
from cytotable_dagster.core.images.cell_images import CellImages, ChannelLayers, open_cell_images
from cytotable_dagster.core.images.choosing import extreme_cells, typical_cells
from cytotable_dagster.core.images.crop_dataset import CropDataset, crop_statuses, read_crops
from cytotable_dagster.core.images.cropping import SIZE, Crops, crops
from cytotable_dagster.core.images.cutting import CROP_STATUSES
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
from cytotable_dagster.core.images.lance_sink import save_crops
from cytotable_dagster.core.images.ome import ome_arrow_images, ome_arrow_struct
from cytotable_dagster.core.images.plate_picture import mosaic, sites_of, status_picture
from cytotable_dagster.core.images.provenance import (
    FILE,
    Provenance,
    provenance_of,
    provenance_of_plates,
)
from cytotable_dagster.core.images.search import Rules, Search
from cytotable_dagster.core.images.sheets import contact_sheet, plate_contrasts, png_of, sheet_of

__all__ = [
    "AMBIGUOUS",
    "CROP_STATUSES",
    "FILE",
    "MISMATCH",
    "MISSING",
    "PRESENT",
    "SIZE",
    "STATUSES",
    "UNMAPPED",
    "USABLE",
    "VERIFIED",
    "CellImages",
    "ChannelLayers",
    "CropDataset",
    "Crops",
    "Image",
    "Provenance",
    "Rules",
    "Search",
    "centre_columns",
    "contact_sheet",
    "crop_statuses",
    "crops",
    "extreme_cells",
    "find_provenance",
    "mosaic",
    "ome_arrow_images",
    "ome_arrow_struct",
    "open_cell_images",
    "plate_contrasts",
    "png_of",
    "provenance_of",
    "provenance_of_plates",
    "put_provenance",
    "read_crops",
    "save_crops",
    "sheet_of",
    "sites_of",
    "status_picture",
    "typical_cells",
]
