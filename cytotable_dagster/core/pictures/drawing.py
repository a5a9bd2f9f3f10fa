"""What all pictures share: their size, their colours, and how they become PNG."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# In inches of DPI pixels: as wide as the page of an asset shows in a window of 1,440 pixels.
WIDTH, DPI = 5.1, 100
# By equal steps of lightness, and seen as such by people who see no red or no green.
MAP = "cividis"
BAR, LINE, EMPTY, TEXT = "#3b6ea5", "#d9822b", "#f2f2f2", "#222222"
SMALL, MIDDLE = 8, 10


def figure(height: float) -> "Figure":
    """An empty picture of the usual width."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Placed by hand: layout engines draw everything several times.
    made = Figure(figsize=(WIDTH, height), dpi=DPI)
    FigureCanvasAgg(made)
    return made


def part(made: "Figure", left: float, top: float, width: float, height: float) -> "Axes":
    """A part of a picture, in inches from its upper left corner."""
    whole = made.get_figheight()
    return made.add_axes((left / WIDTH, 1 - (top + height) / whole, width / WIDTH, height / whole))


def titled(axes: "Axes", title: str) -> None:
    axes.set_title(title, fontsize=MIDDLE, loc="left", color=TEXT)
    axes.tick_params(labelsize=SMALL, length=2)
    axes.spines[["top", "right"]].set_visible(False)


def png(made: "Figure") -> bytes:
    out = io.BytesIO()
    made.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
