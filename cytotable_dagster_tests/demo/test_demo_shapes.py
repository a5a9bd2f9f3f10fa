"""Shape features of figures whose features are known."""

import numpy as np
import pytest

from cytotable_dagster.demo.shapes import neighbor_columns, shape_columns

pytest.importorskip("scipy")


def disc(size: int, y: float, x: float, radius: float) -> np.ndarray:
    ys, xs = np.ogrid[:size, :size]
    return (ys - y) ** 2 + (xs - x) ** 2 <= radius**2


def measured(mask: np.ndarray) -> dict[str, float]:
    columns = shape_columns(mask.astype(np.int32))
    return {name.removeprefix("AreaShape_"): float(column[0]) for name, column in columns.items()}


def test_disc() -> None:
    shape = measured(disc(101, 50, 40, 30))
    assert shape["Area"] == pytest.approx(np.pi * 900, rel=0.01)
    assert shape["Perimeter"] == pytest.approx(2 * np.pi * 30, rel=0.03)
    assert shape["FormFactor"] == pytest.approx(1, rel=0.06)
    assert shape["Compactness"] == pytest.approx(1, rel=0.01)
    assert shape["Eccentricity"] == pytest.approx(0, abs=0.05)
    assert shape["MajorAxisLength"] == pytest.approx(60, rel=0.02)
    assert shape["MaxFeretDiameter"] == pytest.approx(60, rel=0.03)
    assert shape["MaximumRadius"] == pytest.approx(30, rel=0.03)
    assert shape["Solidity"] == pytest.approx(1, abs=0.04)
    assert (shape["Center_X"], shape["Center_Y"]) == (40, 50)
    assert shape["EulerNumber"] == 1


def test_rectangle() -> None:
    mask = np.zeros((40, 60), dtype=bool)
    mask[10:20, 5:45] = True
    shape = measured(mask)
    assert (shape["BoundingBoxMinimum_X"], shape["BoundingBoxMaximum_X"]) == (5, 45)
    assert (shape["BoundingBoxMinimum_Y"], shape["BoundingBoxMaximum_Y"]) == (10, 20)
    assert shape["Extent"] == shape["Solidity"] == 1
    assert shape["Orientation"] == pytest.approx(0)
    assert shape["MinFeretDiameter"] == pytest.approx(10)
    assert shape["MaxFeretDiameter"] == pytest.approx(np.hypot(10, 40))


def test_ring_has_a_hole() -> None:
    ring = disc(60, 30, 30, 20) & ~disc(60, 30, 30, 10)
    assert measured(ring)["EulerNumber"] == 0


def test_single_pixel_has_all_features() -> None:
    mask = np.zeros((5, 5), dtype=bool)
    mask[2, 3] = True
    shape = measured(mask)
    assert shape["Area"] == shape["Solidity"] == shape["EulerNumber"] == 1
    assert all(np.isfinite(value) for value in shape.values())


def test_no_object_has_all_columns() -> None:
    empty = np.zeros((10, 10), dtype=np.int32)
    assert {len(column) for column in shape_columns(empty).values()} == {0}
    assert {len(column) for column in neighbor_columns(empty, "1").values()} == {0}


def test_neighbors() -> None:
    labels = np.zeros((20, 40), dtype=np.int32)
    labels[5:10, 0:10], labels[5:10, 10:20], labels[5:10, 30:40] = 1, 2, 3
    columns = neighbor_columns(labels, "Adjacent")
    assert columns["Neighbors_NumberOfNeighbors_Adjacent"].tolist() == [1, 1, 0]
    assert columns["Neighbors_FirstClosestObjectNumber_Adjacent"].tolist() == [2, 1, 2]
    assert columns["Neighbors_FirstClosestDistance_Adjacent"].tolist() == [10, 10, 20]
    assert columns["Neighbors_SecondClosestDistance_Adjacent"].tolist() == [30, 20, 30]
    assert columns["Neighbors_PercentTouching_Adjacent"][2] == 0


def test_lonely_object_has_no_distance() -> None:
    columns = neighbor_columns(disc(20, 10, 10, 4).astype(np.int32), "1")
    assert columns["Neighbors_FirstClosestObjectNumber_1"].tolist() == [0]
    assert np.isnan(columns["Neighbors_FirstClosestDistance_1"]).all()
