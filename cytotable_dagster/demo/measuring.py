"""The object tables of one site: every column that CellProfiler would write, with the table's prefix."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cytotable_dagster.demo.intensities import correlation_columns, intensity_columns
from cytotable_dagster.demo.segmenting import Segmentation
from cytotable_dagster.demo.shapes import Column, neighbor_columns, shape_columns

COMPARTMENTS = ("Cells", "Cytoplasm", "Nuclei")

Pixels = NDArray[np.float64]


def measure_objects(compartment: str, segmentation: Segmentation, images: Mapping[str, Pixels]) -> Mapping[str, Column]:
    """Features of all objects of a compartment: column name -> one value an object, in order of number.

    `images`: channel -> intensities between 0 and 1. Missing values are NaN.
    """
    labels = segmentation.labels_of(compartment)
    columns = {
        **shape_columns(labels),
        **_children(compartment, segmentation),
        **correlation_columns(labels, images),
        **intensity_columns(labels, images),
        **_neighbors(compartment, segmentation),
        "Number_Object_Number": np.arange(1, labels.max(initial=0) + 1, dtype=np.int64),
        **_parents(compartment, segmentation),
    }
    return {f"{compartment}_{name}": column for name, column in columns.items()}


def _neighbors(compartment: str, segmentation: Segmentation) -> Mapping[str, Column]:
    match compartment:
        case "Cells":
            return neighbor_columns(segmentation.cells, "Adjacent")
        case "Nuclei":
            return neighbor_columns(segmentation.nuclei, "1")
        case _:
            return {}


def _parents(compartment: str, segmentation: Segmentation) -> Mapping[str, Column]:
    match compartment:
        case "Cells":
            return {"Parent_Nuclei": segmentation.cell_nucleus}
        case "Cytoplasm":
            return {
                "Parent_Cells": segmentation.cytoplasm_cell,
                "Parent_Nuclei": segmentation.cytoplasm_nucleus,
            }
        case _:
            return {}


def _children(compartment: str, segmentation: Segmentation) -> Mapping[str, Column]:
    match compartment:
        case "Cells":
            return {"Children_Cytoplasm_Count": _count(segmentation.cytoplasm_cell, segmentation.cells)}
        case "Nuclei":
            return {
                "Children_Cells_Count": _count(segmentation.cell_nucleus, segmentation.nuclei),
                "Children_Cytoplasm_Count": _count(segmentation.cytoplasm_nucleus, segmentation.nuclei),
            }
        case _:
            return {}


def _count(parents: NDArray[np.int64], labels: NDArray[np.int32]) -> Column:
    return np.bincount(parents, minlength=int(labels.max(initial=0)) + 1)[1:]
