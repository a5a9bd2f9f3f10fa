"""The plates of a dataset side by side: their rows, and how their columns differ."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cytotable_dagster.core.pictures.drawing import BAR, LINE, SMALL, figure, part, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Plates whose names fit below each other.
_NAMED = 40
# Of a plate's name, beside its bar.
_LETTERS = 16


def dataset_figure(rows: Mapping[str, int], lacking: Mapping[str, int], what: str) -> "Figure | None":
    """Rows of each plate, and how many of the dataset's columns its own file had not; None without plates.

    Args:
        rows: by plate, in the order shown.
        lacking: columns by plate; those that lack none may be left out.
        what: the rows are.
    """
    if not rows:
        return None
    names = len(rows) <= _NAMED
    made = figure(1.2 + 0.18 * max(len(rows), 3) if names else 5.0)
    height = made.get_figheight() - 0.9
    first, second = part(made, 1.2, 0.4, 2.1, height), part(made, 3.55, 0.4, 1.35, height)
    _bars(first, list(rows.values()), f"{what.capitalize()} by plate", what, BAR)
    _bars(second, [lacking.get(plate, 0) for plate in rows], "Columns it lacks", "columns", LINE)
    if not any(lacking.values()):
        second.text(
            0.5,
            0.5,
            "none:\nall plates have\nthe same columns",
            transform=second.transAxes,
            ha="center",
            va="center",
            fontsize=SMALL,
        )
        second.set_xticks([])
    if names:
        first.set_yticks(range(len(rows)), list(map(_short, rows)), fontsize=SMALL)
    else:
        plates = list(rows)
        first.set_yticks([0, len(rows) - 1], [_short(plates[0]), _short(plates[-1])], fontsize=SMALL)
        first.set_ylabel(f"{len(rows):,} plates, by name", fontsize=SMALL)
    second.set_yticks([])
    for axes in (first, second):
        axes.set_ylim(len(rows) - 0.4, -0.6)
    return made


def _short(plate: str) -> str:
    return plate if len(plate) <= _LETTERS else f"{plate[: _LETTERS // 2]}...{plate[3 - _LETTERS // 2 :]}"


def _bars(axes: "Axes", values: list[int], title: str, unit: str, colour: str) -> None:
    titled(axes, title)
    axes.barh(range(len(values)), values, height=0.8 if len(values) <= _NAMED else 1.0, color=colour)
    axes.set_xlabel(unit, fontsize=SMALL)
    axes.set_xlim(0, max(1, *values) * 1.05)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
