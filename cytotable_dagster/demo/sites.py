"""One site of a synthetic plate: its images, and the rows CellProfiler and cytominer-database would make."""

import csv
import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytotable_dagster.demo import layout
from cytotable_dagster.demo.extras import need
from cytotable_dagster.demo.intensities import image_columns
from cytotable_dagster.demo.layout import Site
from cytotable_dagster.demo.measuring import COMPARTMENTS, measure_objects
from cytotable_dagster.demo.painting import CHANNELS, SATURATION, Look, blank_image, paint_site
from cytotable_dagster.demo.segmenting import Segmentation, segment
from cytotable_dagster.demo.shapes import Column

MOUNT = "/home/ubuntu/bucket"
"""Where the machine that ran CellProfiler had mounted the bucket; so it stands in the image table."""

CELLS_PER_PIXEL = 26 / 256**2
PIXELS_PER_CENTIMETER = 16723
"""20x objective, 2 x 2 binning: 0.598 micrometers a pixel."""


@dataclass(frozen=True)
class SiteTables:
    """The image table's row and the columns of each compartment, without keys; and the keys."""

    image: Mapping[str, object]
    objects: Mapping[str, Mapping[str, Column]]
    table_number: int
    image_number: int


def make_site(
    site: Site,
    *,
    sites: int,
    images: Path,
    plate: str,
    batch: str,
    seed: int,
    size: int,
    image_numbers_repeat: bool,
) -> SiteTables:
    """Paint a site, write its images, and measure them."""
    painted = _paint(site, sites, plate, seed, size)
    digests = {
        channel: _write_tiff(images / site.file_name(number), painted[channel])
        for number, channel in enumerate(CHANNELS, start=1)
    }
    image_number = site.site if image_numbers_repeat else site.index + 1
    return _measure(painted, _identity(site, plate, batch, digests), image_number)


def _paint(site: Site, sites: int, plate: str, seed: int, size: int) -> Mapping[str, NDArray[np.uint16]]:
    """The images of a site. Its well's treatment and its cells depend on seed, plate and place alone."""
    name = zlib.crc32(plate.encode())
    treatment = np.random.default_rng((seed, name, site.row, site.column))
    empty = sites > 1 and site.index == sites // 2
    look = Look(
        cells=0 if empty else max(2, round(CELLS_PER_PIXEL * size**2 * treatment.uniform(0.6, 1.3))),
        cell_size=treatment.uniform(0.9, 1.15),
        nucleus_size=treatment.uniform(0.9, 1.15),
        er=treatment.uniform(0.7, 1.5),
        agp=treatment.uniform(0.7, 1.5),
    )
    rng = np.random.default_rng((seed, name, site.row, site.column, site.site))
    painted = dict(paint_site(rng, size, look))
    if sites > 2 and site.index == sites // 3:
        painted["AGP"] = blank_image(size)
    return painted


def _write_tiff(path: Path, image: NDArray[np.uint16]) -> str:
    """Write an image; the MD5 of its file, as CellProfiler records it."""
    buffer = io.BytesIO()
    need("tifffile").imwrite(
        buffer,
        image,
        photometric="minisblack",
        metadata=None,
        resolution=(PIXELS_PER_CENTIMETER, PIXELS_PER_CENTIMETER),
        resolutionunit="CENTIMETER",
        software="cytotable-dagster demo",
    )
    content = buffer.getvalue()
    path.write_bytes(content)
    return md5(content, usedforsecurity=False).hexdigest()


def _identity(site: Site, plate: str, batch: str, digests: Mapping[str, str]) -> Mapping[str, object]:
    """The columns of the image table that say which image this is and where its files are."""
    path = f"{MOUNT}/{layout.images_key(batch, plate)}"
    columns: dict[str, object] = {
        "Metadata_Batch": batch,
        "Metadata_Col": site.column,
        "Metadata_Plate": plate,
        "Metadata_Row": site.row,
        "Metadata_Site": site.site,
        "Metadata_Source": layout.SOURCE,
        "Metadata_Well": site.well,
    }
    for number, channel in enumerate(CHANNELS, start=1):
        columns[f"FileName_Orig{channel}"] = site.file_name(number)
        columns[f"PathName_Orig{channel}"] = path
        columns[f"URL_Orig{channel}"] = f"file:{path}/{site.file_name(number)}"
        columns[f"MD5Digest_Orig{channel}"] = digests[channel]
    return columns


def _measure(
    painted: Mapping[str, NDArray[np.uint16]], identity: Mapping[str, object], image_number: int
) -> SiteTables:
    images = {channel: pixels / SATURATION for channel, pixels in painted.items()}
    segmentation = segment(images)
    image = {**identity, **_image_features(images, segmentation)}
    text = io.StringIO(newline="")
    csv.writer(text).writerows([image.keys(), image.values()])
    return SiteTables(
        image=dict(sorted(image.items())),
        objects={name: measure_objects(name, segmentation, images) for name in COMPARTMENTS},
        # cytominer-database takes the CRC-32 of the site's Image.csv: about half exceed 31 bits.
        table_number=zlib.crc32(text.getvalue().encode()),
        image_number=image_number,
    )


def _image_features(images: Mapping[str, NDArray[np.float64]], segmentation: Segmentation) -> Mapping[str, object]:
    columns: dict[str, object] = {
        f"Count_{name}": int(segmentation.labels_of(name).max(initial=0)) for name in COMPARTMENTS
    }
    columns["Threshold_FinalThreshold_Cells"] = segmentation.cells_threshold
    columns["Threshold_FinalThreshold_Nuclei"] = segmentation.nuclei_threshold
    for channel, image in images.items():
        height, width = image.shape
        columns |= {
            f"Height_Orig{channel}": height,
            f"Width_Orig{channel}": width,
            f"Scaling_Orig{channel}": SATURATION,
            **image_columns(image, f"Orig{channel}"),
        }
    return columns
