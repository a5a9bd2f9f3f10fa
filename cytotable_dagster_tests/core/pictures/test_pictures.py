"""Pictures of plates and datasets: what is drawn, what is written beside it, and that it becomes a picture of its size."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from PIL import Image as Pictures

from cytotable_dagster import convert
from cytotable_dagster.core.model.types import Source
from cytotable_dagster.core.model.wells import row_letters
from cytotable_dagster.core.pictures.drawing import DPI, WIDTH, png
from cytotable_dagster.core.pictures.plate_numbers import Feature, PlateNumbers, plate_numbers
from cytotable_dagster.core.pictures.plate_pictures import counts_figure, features_figure
from cytotable_dagster.core.pictures.plates import dataset_figure
from cytotable_dagster.core.planning.make_plan import make_plan
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.sources.detection import resolved_preset
from cytotable_dagster_tests.core.plates import EXPORT, JUMP, plate, sites
from cytotable_dagster_tests.core.sources.npz.test_npz import site

AREA = "Cells_AreaShape_Area"


def numbers_of(
    wells: Sequence[str | None], imaged: dict[str, int], area: Sequence[float] | None = None
) -> PlateNumbers:
    rows = len(wells)
    values = np.arange(float(rows)) if area is None else np.array(area, float)
    return PlateNumbers(rows, 1, tuple(wells), imaged, (Feature(AREA, "pixels", values),), np.zeros(rows), 1)


def picture(figure: Figure | None) -> Pictures.Image:
    """The picture, which is as wide as a page and no higher than a few of its screens."""
    assert figure is not None
    made = Pictures.open(io.BytesIO(png(figure)))
    made.load()
    assert made.width == round(WIDTH * DPI) and 100 < made.height < 1500
    return made


def grid(axes: Any) -> np.ma.MaskedArray:
    """The wells of a layout as rows and columns, those without a value masked."""
    (mesh,) = [artist for artist in axes.collections if isinstance(artist, QuadMesh)]
    return np.ma.masked_invalid(mesh.get_array())


def names(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


@pytest.mark.parametrize(("rows", "columns"), [(2, 3), (4, 6), (8, 12), (16, 24), (32, 48)])
def test_every_well_of_a_plate_is_where_it_lies(rows, columns):
    wells = [f"{row_letters(row)}{column + 1:02d}" for row in range(rows) for column in range(columns)]
    imaged = {well: place + 1 for place, well in enumerate(wells)} | {wells[0]: 0}
    figure = counts_figure(numbers_of(wells, imaged), "P1: cells per well", "cells")
    picture(figure)
    axes = figure.axes[0]
    drawn = grid(axes)
    assert drawn.shape == (rows, columns) and drawn[rows - 1, columns - 1] == rows * columns
    assert drawn.mask[0, 0] and drawn.mask.sum() == 1
    assert names(axes.yaxis)[0] == "A" and names(axes.xaxis)[0] == "1"
    assert axes.get_title("left") == "P1: cells per well"
    assert axes.get_xlabel() == f"{rows * columns - 1:,} wells with cells; crossed: 1 with images and no cells"
    (bar,) = [inset for inset in axes.child_axes if inset.get_ylabel()]
    assert bar.get_ylabel() == "cells per well"
    picture(features_figure(numbers_of(wells, imaged)))


def test_wells_without_images_are_told_from_those_without_cells():
    figure = counts_figure(numbers_of(["B02"], {"B02": 1, "B03": 0}), "P1", "cells")
    axes = figure.axes[0]
    assert grid(axes).mask.sum() == 5 and "grey: no image" in axes.get_xlabel()
    (crosses,) = [artist for artist in axes.collections if not isinstance(artist, QuadMesh)]
    assert crosses.get_offsets().tolist() == [[2.0, 1.0]]


@pytest.mark.parametrize(
    ("wells", "shown"),
    [(["10", "9", "101"], ["9", "10", "101"]), (["site 10", "site 2", "a*b_c%"], ["a*b_c%", "site 2", "site 10"])],
)
def test_wells_that_are_numbers_or_any_names_are_bars_in_their_order(wells, shown):
    figure = counts_figure(numbers_of(wells, {well: place for place, well in enumerate(wells)}), "P1", "cells")
    picture(figure)
    assert sorted(names(figure.axes[0].xaxis)) == sorted(shown)
    assert [bar.get_height() for bar in figure.axes[0].patches] == [wells.index(well) for well in shown]


def test_a_table_without_wells_has_its_features_alone():
    numbers = numbers_of([], {}, [1.0, 2.0, 3.0])
    assert counts_figure(numbers, "P1", "cells") is None
    figure = features_figure(numbers)
    picture(figure)
    (axes,) = figure.axes
    assert axes.get_title("left") == "Cells: Area" and axes.get_ylabel() == "cells"
    assert axes.get_xlabel() == "pixels\nmedian (line) 2"


def test_a_feature_without_any_value_is_not_drawn():
    numbers = numbers_of(["A01", "A02"], {"A01": 1, "A02": 1}, [np.nan, np.nan])
    figure = features_figure(numbers)
    picture(figure)
    assert [axes.get_title("left") for axes in figure.axes] == ["Missing values, of 1 column"]
    assert features_figure(numbers_of([], {}, [np.nan, np.inf])) is None


@pytest.mark.parametrize(
    "values",
    [
        *([np.inf, 5.0, 5.0], [0.0, 0.0, 0.0], [1e17] * 3, [1e17, 1e17, 1e17 + 16], [-1e308, 1e308, 1.0]),
        *([1e-12, 2e-12, 3e-12], [1e300, -1e300, 0.0], [5e-324] * 3),
    ],
)
def test_infinite_equal_and_extreme_values_are_drawn_too(values):
    picture(features_figure(numbers_of(["A01", "A01", "A02"], {"A01": 2, "A02": 1}, values)))
    assert features_figure(numbers_of([], {}, [1e308] * 3)) is None


def numbers_in(source: Any, folder: Any, table: str, **how: bool) -> PlateNumbers:
    """What pictures show of a plate, of tables that were really made."""
    result = convert(source, folder / "out")
    found = Source("P1", str(source), source, 0, None, None, "x")
    plan = make_plan(found, resolved_preset(found, None), Options(), folder / "plan")
    return plate_numbers(plan, table, lambda name: pa.OSFile(str(result[name])), **how)


@pytest.mark.parametrize("dialect", [JUMP, EXPORT])
def test_cells_are_counted_in_the_wells_of_their_images(make_plate, tmp_path, dialect):
    numbers = numbers_in(make_plate(plate(dialect, sites(3, 2))), tmp_path, "Cells")
    assert sum(numbers.imaged.values()) == numbers.rows == 5 == len(numbers.wells)
    assert {feature.name for feature in numbers.features} == {AREA}


@pytest.mark.parametrize("dialect", [JUMP, EXPORT])
def test_wells_are_counted_alike_where_no_measurements_are_wanted(make_plate, tmp_path, dialect):
    source = make_plate(plate(dialect, sites(3, 2)))
    whole = numbers_in(source, tmp_path / "whole", "Cells")
    few = numbers_in(source, tmp_path / "few", "Cells", measured=False)
    assert (few.rows, few.wells, few.imaged) == (whole.rows, whole.wells, whole.imaged)
    assert not few.features and not few.looked_at
    assert features_figure(few) is None


def test_a_plate_of_images_alone_is_drawn(make_plate, tmp_path):
    tables = {"Image": plate(JUMP)["Image"]}
    numbers = numbers_in(make_plate(tables), tmp_path, "Image")
    assert numbers.rows == 2 and not numbers.features
    picture(counts_figure(numbers, "P1", "images"))
    assert features_figure(numbers) is None


def test_a_plate_of_npz_files_is_drawn(tmp_path):
    for place, well in enumerate(("A01", "B12")):
        site(tmp_path / "plate" / f"{well}.npz", cells=place + 2, Metadata_Well=well)
    numbers = numbers_in(tmp_path / "plate", tmp_path, "Cells")
    assert numbers.imaged == {"A01": 2, "B12": 3}
    picture(counts_figure(numbers, "P1", "cells"))
    picture(features_figure(numbers))


def test_plates_of_a_dataset_stand_side_by_side():
    assert dataset_figure({}, {}, "cells") is None
    figure = dataset_figure({"P1": 10, "a long name of a plate": 30}, {"P1": 2}, "cells")
    picture(figure)
    rows, lacking = figure.axes
    assert [bar.get_width() for bar in rows.patches] == [10, 30]
    assert [bar.get_width() for bar in lacking.patches] == [2, 0]
    assert (rows.get_xlabel(), lacking.get_xlabel()) == ("cells", "columns")
    assert names(rows.yaxis)[0] == "P1" and "..." in names(rows.yaxis)[1]
    many = dataset_figure({f"P{place}": place for place in range(200)}, {}, "nuclei")
    picture(many)
    assert names(many.axes[0].yaxis) == ["P0", "P199"] and "200 plates" in many.axes[0].get_ylabel()
