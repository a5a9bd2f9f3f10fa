"""Finding nuclei, cells and cytoplasm in the images of a site, as a CellProfiler pipeline would.

IdentifyPrimaryObjects on DNA, IdentifySecondaryObjects by distance on ER and AGP (cells at the border are
discarded), IdentifyTertiaryObjects for what is left:
https://cellprofiler-manual.s3.amazonaws.com/CellProfiler-4.2.6/modules/objectprocessing.html
Label images number objects from 1, in the order of their first pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytotable_dagster.demo.extras import need

Labels = NDArray[np.int32]
Pixels = NDArray[np.float64]

# In CellProfiler's scale (65535 is 1.0): nothing darker is an object, so that an empty site has none.
NUCLEI_THRESHOLD_FLOOR = 0.018
CELLS_THRESHOLD_FLOOR = 0.015
NUCLEUS_MIN_AREA = 40
CELL_MAX_GROWTH = 26
"""How far a cell may reach from its nucleus, in pixels."""


@dataclass(frozen=True)
class Segmentation:
    """Label images of shape (height, width), and which object came from which.

    `cell_nucleus[i]` is the nucleus of cell i + 1; `cytoplasm_cell[i]`, `cytoplasm_nucleus[i]` likewise.
    """

    nuclei: Labels
    cells: Labels
    cytoplasm: Labels
    cell_nucleus: NDArray[np.int64]
    cytoplasm_cell: NDArray[np.int64]
    cytoplasm_nucleus: NDArray[np.int64]
    nuclei_threshold: float
    cells_threshold: float

    def labels_of(self, compartment: str) -> Labels:
        return {"Nuclei": self.nuclei, "Cells": self.cells, "Cytoplasm": self.cytoplasm}[compartment]


def segment(images: Mapping[str, Pixels]) -> Segmentation:
    """The objects of a site. `images`: channel -> intensities between 0 and 1, all of one shape."""
    ndimage = need("scipy.ndimage")
    dna = ndimage.gaussian_filter(images["DNA"], 1.2)
    nuclei_threshold = max(otsu(dna), NUCLEI_THRESHOLD_FLOOR)
    nuclei = _find_nuclei(dna > nuclei_threshold)

    body = ndimage.gaussian_filter(np.maximum(images["ER"], images["AGP"]), 1.2)
    cells_threshold = max(0.8 * otsu(body), CELLS_THRESHOLD_FLOOR)
    cells, cell_nucleus = _numbered(_without_border(_grow(nuclei, body > cells_threshold)))

    cytoplasm, cytoplasm_cell = _numbered(np.where(nuclei > 0, 0, cells))
    return Segmentation(
        nuclei=nuclei,
        cells=cells,
        cytoplasm=cytoplasm,
        cell_nucleus=cell_nucleus,
        cytoplasm_cell=cytoplasm_cell,
        cytoplasm_nucleus=cell_nucleus[cytoplasm_cell - 1],
        nuclei_threshold=nuclei_threshold,
        cells_threshold=cells_threshold,
    )


def otsu(image: Pixels, bins: int = 256) -> float:
    """The intensity that best parts the logarithms of all intensities into two classes.

    N. Otsu, "A threshold selection method from gray-level histograms", 1979: most variance between classes.
    """
    logs = np.log2(np.maximum(image, 1 / 65535))
    histogram, edges = np.histogram(logs, bins)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(histogram)[:-1]
    above = image.size - below
    sums = np.cumsum(histogram * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = sums[:-1] / below - (sums[-1] - sums[:-1]) / above
    variance = np.nan_to_num(below * above * difference**2)
    return float(2 ** edges[1 + int(np.argmax(variance))])


def _find_nuclei(mask: NDArray[np.bool_]) -> Labels:
    ndimage = need("scipy.ndimage")
    mask = ndimage.binary_fill_holes(ndimage.binary_opening(mask))
    pieces = _largest_pieces(_split(mask))
    areas = np.bincount(pieces.ravel())
    return _numbered(np.where(areas[pieces] >= NUCLEUS_MIN_AREA, pieces, 0))[0]


def _split(mask: NDArray[np.bool_]) -> Labels:
    """Touching blobs cut apart: each pixel goes to the peak of the distance transform it is deepest in.

    A peak is a disc of the peak's height. Deepest is the least squared distance minus squared radius: two
    circles that overlap are cut through the points where they meet.
    """
    ndimage = need("scipy.ndimage")
    distance = ndimage.distance_transform_edt(mask)
    smooth = ndimage.gaussian_filter(distance, 1.0)
    peaks = (smooth == ndimage.maximum_filter(smooth, size=9)) & mask & (distance > 2)
    seeds, count = ndimage.label(peaks, structure=np.ones((3, 3)))
    blobs, _ = ndimage.label(mask)
    labels = np.zeros(mask.shape, dtype=np.int32)
    if count == 0:
        return labels
    numbers = np.arange(1, count + 1)
    centres = np.asarray(ndimage.center_of_mass(peaks, seeds, numbers))
    radii = ndimage.maximum(distance, seeds, numbers)
    blob_of_seed = ndimage.maximum(blobs, seeds, numbers)
    ys, xs = np.nonzero(mask)
    power = (ys[:, None] - centres[:, 0]) ** 2 + (xs[:, None] - centres[:, 1]) ** 2 - radii**2
    power[blobs[ys, xs][:, None] != blob_of_seed] = np.inf
    nearest = np.argmin(power, axis=1)
    reached = np.isfinite(power[np.arange(len(ys)), nearest])
    labels[ys, xs] = np.where(reached, nearest + 1, 0)
    return labels


def _largest_pieces(labels: Labels) -> Labels:
    """Each object reduced to its largest connected piece."""
    ndimage = need("scipy.ndimage")
    result = np.zeros_like(labels)
    for number, window in enumerate(ndimage.find_objects(labels), start=1):
        if window is None:
            continue
        pieces, count = ndimage.label(labels[window] == number)
        largest = 1 if count == 1 else 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
        result[window][pieces == largest] = number
    return result


def _grow(nuclei: Labels, mask: NDArray[np.bool_]) -> Labels:
    """Cells: each nucleus with the pixels of the mask nearest to it, as far as they hang together with it."""
    ndimage = need("scipy.ndimage")
    if not nuclei.any():
        return np.zeros_like(nuclei)
    distance, (ys, xs) = ndimage.distance_transform_edt(nuclei == 0, return_indices=True)
    nearest = np.where((mask & (distance <= CELL_MAX_GROWTH)) | (nuclei > 0), nuclei[ys, xs], 0)
    cells = np.zeros_like(nuclei)
    for number, window in enumerate(ndimage.find_objects(nearest), start=1):
        pieces, _ = ndimage.label(nearest[window] == number)
        own = np.isin(pieces, np.unique(pieces[nuclei[window] == number]))
        filled = ndimage.binary_fill_holes(own & (pieces > 0))
        cells[window][filled & ((nearest[window] == number) | (nearest[window] == 0))] = number
    return cells


def _without_border(labels: Labels) -> Labels:
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.where(np.isin(labels, np.unique(border)), 0, labels)


def _numbered(labels: Labels) -> tuple[Labels, NDArray[np.int64]]:
    """The objects numbered anew from 1, by their first pixel; and the old number of each."""
    values, first = np.unique(labels, return_index=True)
    values, first = values[values > 0], first[values > 0]
    old = values[np.argsort(first)]
    lookup = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.int32)
    lookup[old] = np.arange(1, len(old) + 1)
    return lookup[labels], old.astype(np.int64)
