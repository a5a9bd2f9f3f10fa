"""A plate's wells in colours, from 6 to 1,536 of them, and its standard features."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.wells import layout_of, place_on_plate, row_letters
from cytotable_dagster.core.pictures.drawing import BAR, EMPTY, LINE, MAP, SMALL, WIDTH, figure, part, titled
from cytotable_dagster.core.pictures.plate_numbers import Feature, PlateNumbers
from cytotable_dagster.core.shown import counted

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Wells that are wide enough to have their number written in them.
_NUMBERED_COLUMNS = 12
# Letters and numbers of rows and columns that fit along a picture.
_NAMED = 24
_BARS = 60
# Letters of a well's name below a bar, and of one that is not upright.
_LETTERS, _UPRIGHT = 10, 3
# A histogram with its title and legend, in inches.
_HISTOGRAM = 2.0
# Values beyond these percentiles are not drawn, lest one cell makes the others a line.
_LOW, _HIGH = 0.5, 99.5
_LARGEST = 1e300


def counts_figure(numbers: PlateNumbers, title: str, what: str) -> "Figure | None":
    """Rows by well on the plate's layout; as bars where wells have no letters and numbers, and None where there
    are no wells.

    Args:
        what: the rows are: `cells`, `images`.
    """
    if not numbers.imaged:
        return None
    placed = _placed(numbers.imaged)
    if placed:
        rows, columns = layout_of(placed)
        width = WIDTH - 1.1
        made = figure(0.85 + width * rows / columns)
        axes = part(made, 0.3, 0.45, width, width * rows / columns)
        _layout(axes, {p: float(v) for p, v in placed.items()}, title, f"{what} per well", what)
    else:
        made = figure(3.1)
        _bars(part(made, 0.7, 0.35, WIDTH - 0.9, 1.7), numbers.imaged, title, what)
    return made


def features_figure(numbers: PlateNumbers) -> "Figure | None":
    """Missing values and a median by well, and histograms of standard features; None where there are none."""
    import numpy as np

    maps: list[tuple[str, str, Mapping[tuple[int, int], float]]] = []
    if numbers.wells and numbers.looked_at:
        missing = _by_well(numbers, numbers.missing * 100, np.mean)
        if missing:
            maps.append((f"Missing values, of {counted(numbers.looked_at, 'column')}", "% missing", missing))
    if numbers.wells and numbers.features:
        first = numbers.features[0]
        medians = _by_well(numbers, first.values, np.median)
        if medians:
            maps.append((f"Median of {first.title}", first.unit, medians))
    drawn = [feature for feature in numbers.features if len(_shown(feature.values))]
    if not maps and not drawn:
        return None
    rows, columns = layout_of(place for *_, values in maps for place in values) if maps else (0, 1)
    # Wells of large plates want the whole width.
    across = 2 if columns <= _NUMBERED_COLUMNS else 1
    each = WIDTH / across
    width = each - 1.1
    high = width * rows / columns
    below = (high + 0.7) * -(-len(maps) // across)
    made = figure(below + _HISTOGRAM * -(-len(drawn) // 2) + 0.05)
    for number, (title, unit, values) in enumerate(maps):
        left, top = 0.3 + number % across * each, 0.45 + number // across * (high + 0.7)
        _layout(part(made, left, top, width, high), values, title, unit, "", small=across > 1)
    for number, feature in enumerate(drawn):
        left, top = 0.6 + number % 2 * WIDTH / 2, below + 0.3 + number // 2 * _HISTOGRAM
        _histogram(part(made, left, top, WIDTH / 2 - 0.75, _HISTOGRAM - 0.9), feature)
    return made


def _shown(values: "np.ndarray") -> "np.ndarray":
    """Those that a picture has room for: no NaN, nothing infinite, and nothing from which an axis would be."""
    import numpy as np

    return np.asarray(values[np.abs(values) <= _LARGEST])


def _placed(by_well: Mapping[str, int]) -> dict[tuple[int, int], int]:
    """What is on the plate's layout; nothing where names of wells are not of that kind."""
    found: dict[tuple[int, int], int] = {}
    for well, value in by_well.items():
        place = place_on_plate(well)
        if place is not None:
            found[place] = found.get(place, 0) + value
    return found


def _by_well(numbers: PlateNumbers, values: "np.ndarray", summed_up: "object") -> dict[tuple[int, int], float]:
    """A number for each place on the plate of its rows' values."""
    import numpy as np

    names = np.array([well or "" for well in numbers.wells])
    order = np.argsort(names, kind="stable")
    wells, starts = np.unique(names[order], return_index=True)
    found = {}
    for well, own in zip(wells, np.split(values[order], starts[1:]), strict=True):
        place = place_on_plate(str(well))
        shown = _shown(own)
        if place is not None and len(shown):
            found[place] = float(summed_up(shown))  # type: ignore[operator]
    return found


def _layout(
    axes: "Axes",
    values: Mapping[tuple[int, int], float],
    title: str,
    unit: str,
    counted: str,
    *,
    small: bool = False,
) -> None:
    """Wells in colours; where values are counts, of what is `counted`, those of 0 crossed out."""
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    rows, columns = layout_of(values)
    grid = np.full((rows, columns), np.nan)
    for (row, column), value in values.items():
        grid[row, column] = value
    crossed = [place for place, value in values.items() if counted and value == 0]
    for place in crossed:
        grid[place] = np.nan
    titled(axes, title)
    axes.set_facecolor(EMPTY)
    low, high = (np.nanmin(grid), np.nanmax(grid)) if np.isfinite(grid).any() else (0.0, 1.0)
    if low == high:
        low, high = (0.0, 1.0) if high == 0 else sorted((0.0, high))
    edges = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
    drawn = axes.pcolormesh(
        *edges, np.ma.masked_invalid(grid), cmap=MAP, vmin=low, vmax=high, edgecolors="white", lw=0.5
    )
    axes.set_aspect("equal")
    axes.set_ylim(rows - 0.5, -0.5)
    axes.spines[:].set_visible(False)
    steps = [max(1, -(-count // (_NAMED // (3 if small else 1)))) for count in (rows, columns)]
    axes.set_yticks(range(0, rows, steps[0]), [row_letters(row) for row in range(0, rows, steps[0])], fontsize=SMALL)
    axes.set_xticks(range(0, columns, steps[1]), [str(c + 1) for c in range(0, columns, steps[1])], fontsize=SMALL)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=1)
    if crossed:
        size = 220 / columns
        axes.scatter([c for _, c in crossed], [r for r, _ in crossed], marker="x", s=size * 2, c=LINE, lw=1.2)
    if counted:
        told = [f"{len(values) - len(crossed):,} wells with {counted}"]
        told += [f"crossed: {len(crossed):,} with images and no {counted}"] if crossed else []
        told += ["grey: no image"] if len(values) < rows * columns else []
        axes.set_xlabel("; ".join(told), fontsize=SMALL)
    if columns <= _NUMBERED_COLUMNS and not small:
        for (row, column), value in values.items():
            if (row, column) not in crossed:
                dark = (value - low) / (high - low) < 0.5
                axes.text(
                    column, row, f"{value:,.4g}", ha="center", va="center", fontsize=SMALL, color="w" if dark else "k"
                )
    # Counts are whole numbers.
    ticks = MaxNLocator(6, integer=bool(counted))
    bar = axes.figure.colorbar(drawn, cax=axes.inset_axes((1.02, 0, 0.03, 1)), ticks=ticks)
    bar.ax.tick_params(labelsize=SMALL, length=2)
    bar.set_label(unit, fontsize=SMALL)
    bar.outline.set_visible(False)


def _bars(axes: "Axes", by_well: Mapping[str, int], title: str, what: str) -> None:
    """Rows by well where wells are only names or numbers."""
    titled(axes, title)
    wells = sorted(by_well, key=_natural)
    shown = wells[:_BARS]
    axes.bar(range(len(shown)), [by_well[well] for well in shown], color=BAR)
    step = max(1, len(shown) // 15)
    names = [well if len(well) <= _LETTERS else f"{well[: _LETTERS - 2]}.." for well in shown[::step]]
    upright = max(map(len, names)) > _UPRIGHT
    axes.set_xticks(range(0, len(shown), step), names, fontsize=SMALL, rotation=90 if upright else 0)
    more = f" (the first {_BARS} of {len(wells):,})" if len(wells) > _BARS else ""
    axes.set_xlabel(f"well, as the plate calls it{more}", fontsize=SMALL)
    axes.set_ylabel(what, fontsize=SMALL)


def _natural(well: str) -> list[tuple[bool, int, str]]:
    """Numbers in names by their value: `site 2` before `site 10`."""
    return [
        (not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", well) if part
    ]


def _histogram(axes: "Axes", feature: Feature) -> None:
    import numpy as np

    values = _shown(feature.values)
    low, high = np.percentile(values, (_LOW, _HIGH))
    # Of large numbers the next one is far away, and bars between two have no width.
    if high - low <= abs(high) * 1e-9:
        beside = max(0.5, abs(high) * 1e-6)
        low, high = low - beside, high + beside
    middle = float(np.median(values))
    titled(axes, feature.title)
    axes.title.set_fontsize(SMALL + 1)
    axes.hist(values, bins=40, range=(float(low), float(high)), color=BAR, histtype="stepfilled")
    axes.axvline(middle, color=LINE, lw=1.5)
    axes.set_xlabel(f"{feature.unit}\nmedian (line) {middle:,.4g}", fontsize=SMALL)
    axes.set_ylabel("cells", fontsize=SMALL)
    axes.locator_params(nbins=4)
