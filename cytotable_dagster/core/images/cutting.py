"""Cells cut out of the pixels of their image set, a batch of them at a time."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.images.boxes import BOX, Lying, PlaceColumns, cuts_at, cuts_of, fitted, lying
from cytotable_dagster.core.images.files import File
from cytotable_dagster.core.images.pixels import ImageError, Opener, read

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

OK, INCOMPLETE, NO_IMAGE, UNREADABLE, NO_CENTRE, OUTSIDE, DUPLICATE = (
    "ok",
    "incomplete",
    "no image",
    "unreadable",
    "no centre",
    "outside",
    "duplicate key",
)
CROP_STATUSES = (OK, INCOMPLETE, NO_IMAGE, UNREADABLE, NO_CENTRE, OUTSIDE, DUPLICATE)
CROP, SEGMENTATION = "crop", "segmentation"


@dataclass(frozen=True)
class Layer:
    """The pixels of one channel, or a line that says why there are none; `unread` if it is the file's fault."""

    pixels: "np.ndarray | None"
    problem: str | None = None
    unread: bool = False


@dataclass(frozen=True)
class ImageSet:
    """The layers of one site: its channels, and its masks and outlines."""

    channels: tuple[Layer, ...]
    segmentations: tuple[Layer, ...]


def read_set(
    files: "Sequence[File | None]",
    segmentations: "Sequence[File | None]",
    channel_names: Sequence[str],
    segmentation_names: Sequence[str],
    open_: Opener,
) -> ImageSet:
    """Read each file once; one that several channels name is read once too."""
    known: dict[str, Layer] = {}
    return ImageSet(
        tuple(_layer(file, name, open_, known) for file, name in zip(files, channel_names, strict=True)),
        tuple(_layer(file, name, open_, known) for file, name in zip(segmentations, segmentation_names, strict=True)),
    )


def _layer(file: "File | None", name: str, open_: Opener, known: dict[str, Layer]) -> Layer:
    if file is None:
        return Layer(None, f"{name}: the image has no such channel")
    if file.problem is not None or file.uri is None:
        return Layer(None, file.problem)
    if file.uri not in known:
        try:
            known[file.uri] = Layer(read(file.uri, open_))
        except ImageError as error:
            known[file.uri] = Layer(None, str(error), unread=True)
    return known[file.uri]


@dataclass(frozen=True)
class Cutter:
    """How cells are cut out; see `crops`."""

    where: PlaceColumns
    size: int
    around: str
    fit: str
    dtype: "np.dtype[Any]"

    def cut(self, cells: "pa.Table", images: ImageSet, twice: "np.ndarray") -> "dict[str, pa.Array]":
        """What crops add to these cells of one image; `twice` says which share their key with others."""
        import numpy as np
        import pyarrow as pa

        count = cells.num_rows
        layers = [fitting(layer, self.dtype) for layer in images.channels]
        others = [fitting(layer, np.dtype(np.uint16)) for layer in images.segmentations]
        xs, ys, boxes = self._places(cells)
        cuts = cuts_of(boxes) if self.around == BOX and boxes is not None else cuts_at(xs, ys, self.size)
        out = np.zeros((count, len(layers), self.size, self.size), self.dtype)
        more = np.zeros((count, len(others), self.size, self.size), np.uint16)
        drawn = [
            (layer.pixels, target[:, place])
            for own, target in ((layers, out), (others, more))
            for place, layer in enumerate(own)
            if layer.pixels is not None
        ]
        # Images of one set are of one size, nearly always.
        known = {shape: lying(cuts, shape[0], shape[1], self.size) for shape in {pixels.shape for pixels, _ in drawn}}
        outside, padded = np.full(count, bool(drawn)), np.zeros(count, bool)
        for places in known.values():
            outside &= places.outside
            padded |= places.padded
        scales = np.ones(count)
        for pixels, target in drawn:
            self._draw(pixels, known[pixels.shape], target, scales)
        status, detail = _status_of(layers)
        statuses: list[str] = [status] * count
        details: list[str | None] = [detail] * count
        for cell in np.flatnonzero(~cuts.known).tolist():
            statuses[cell], details[cell] = self._unplaced(float(xs[cell]), float(ys[cell]))
        for cell in np.flatnonzero(outside).tolist():
            height, width = drawn[0][0].shape
            place = f"x {cuts.left[cell]} to {cuts.right[cell]}, y {cuts.top[cell]} to {cuts.bottom[cell]}"
            statuses[cell], details[cell] = OUTSIDE, f"at {place} of an image of {width} x {height} pixels"
        for cell in np.flatnonzero(twice).tolist():
            if statuses[cell] == OK:
                statuses[cell], details[cell] = DUPLICATE, "another row of the table has the same key"
        sides = {"x_min": cuts.left, "x_max": cuts.right, "y_min": cuts.top, "y_max": cuts.bottom}
        return {
            "centre_x": pa.array(xs, mask=~np.isfinite(xs)),
            "centre_y": pa.array(ys, mask=~np.isfinite(ys)),
            **{name: pa.array(values, mask=~cuts.known) for name, values in sides.items()},
            "scale": pa.array(scales),
            "padded": pa.array(padded),
            "status": pa.array(statuses, pa.string()),
            "detail": pa.array(details, pa.string()),
            CROP: _tensors(out),
            SEGMENTATION: _tensors(more),
        }

    def _unplaced(self, x: float, y: float) -> tuple[str, str]:
        """Status and detail of a cell of which nothing can be cut out."""
        if not (math.isfinite(x) and math.isfinite(y)):
            return NO_CENTRE, "no column says where the cell is, or it says NaN"
        if self.around == BOX:
            return NO_CENTRE, "its box is unknown, empty or too large; around='centre' takes its centre"
        return OUTSIDE, f"its centre, x {x:g}, y {y:g}, lies in no image"

    def _draw(self, pixels: "np.ndarray", places: Lying, target: "np.ndarray", scales: "np.ndarray") -> None:
        """Draw one layer of the cells, and note how those are scaled that are no squares of the crop's size."""
        for where, inside in places.squares:
            target[where] = pixels[inside]
        for cell, inside in places.boxes:
            # A box is as large as a cell that somebody wrote; what lies in the image is all of it that is looked at.
            target[cell], scales[cell] = fitted(pixels[inside], self.size, self.fit)

    def _places(self, cells: "pa.Table") -> "tuple[np.ndarray, np.ndarray, np.ndarray | None]":
        """Centres, the first that is known, and boxes as x_min, x_max, y_min, y_max where they are needed; NaN where
        there is none."""
        import numpy as np

        xs = ys = np.full(cells.num_rows, np.nan)
        unknown = np.ones(cells.num_rows, bool)
        for x_name, y_name in self.where.centres:
            xs = np.where(unknown, _numbers(cells, x_name), xs)
            ys = np.where(unknown, _numbers(cells, y_name), ys)
            unknown = ~(np.isfinite(xs) & np.isfinite(ys))
            if not unknown.any():
                break
        if self.where.box is None or not (self.around == BOX or unknown.any()):
            return xs, ys, None
        sides = [_numbers(cells, self.where.box[side]) for side in ("x_min", "x_max", "y_min", "y_max")]
        xs = np.where(unknown, (sides[0] + sides[1] - 1) / 2, xs)
        ys = np.where(unknown, (sides[2] + sides[3] - 1) / 2, ys)
        return xs, ys, np.stack(sides, axis=1)


def fitting(layer: Layer, dtype: "np.dtype[Any]") -> Layer:
    """A layer whose values fit the crops' type."""
    import numpy as np

    if layer.pixels is None or np.can_cast(layer.pixels.dtype, dtype):
        return layer
    pixels = layer.pixels
    if np.issubdtype(dtype, np.integer) and np.issubdtype(pixels.dtype, np.integer):
        # Labels are often written wider than they are.
        limits = np.iinfo(dtype)
        if pixels.size and limits.min <= pixels.min() and pixels.max() <= limits.max:
            return Layer(pixels.astype(dtype))
    elif np.issubdtype(dtype, np.floating):
        return Layer(pixels.astype(dtype))
    return Layer(None, f"an image of {pixels.dtype} where crops are {dtype}; give another dtype=", unread=True)


def _status_of(layers: Sequence[Layer]) -> tuple[str, str | None]:
    problems = [layer for layer in layers if layer.pixels is None]
    if not problems:
        return OK, None
    unread = [layer for layer in problems if layer.unread]
    if unread:
        return UNREADABLE, unread[0].problem
    return (NO_IMAGE if len(problems) == len(layers) else INCOMPLETE), problems[0].problem


def _numbers(cells: "pa.Table", name: str) -> "np.ndarray":
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    column = cells[name]
    try:
        numbers = column if column.type == pa.float64() else pc.cast(column, pa.float64())
        return np.asarray(numbers.to_numpy(), dtype=np.float64)
    except pa.ArrowInvalid:
        return np.full(len(column), np.nan)


def _tensors(values: "np.ndarray") -> "pa.Array":
    """An array of fixed-size lists over the values of an array, without a copy."""
    import pyarrow as pa

    flat = pa.array(values.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, max(int(values[0].size) if len(values) else 1, 1))


def runs(keys: "Sequence[pa.ChunkedArray]", rows: int) -> Iterator[tuple[int, int]]:
    """Where rows of one key lie together: starts and ends."""
    import numpy as np

    codes = [_codes(column) for column in keys]
    changes = np.zeros(max(rows - 1, 0), bool)
    for code in codes:
        changes |= np.diff(code) != 0
    starts = [0, *(np.flatnonzero(changes) + 1).tolist()] if rows else []
    yield from zip(starts, [*starts[1:], rows], strict=False)


def duplicates(cells: "pa.Table", names: Sequence[str]) -> "np.ndarray":
    """Which rows share their key with another; none where no column numbers objects."""
    import numpy as np

    named = list(dict.fromkeys(names))
    if not any(name.endswith("ObjectNumber") for name in named) or not cells.num_rows:
        return np.zeros(cells.num_rows, bool)
    inverse = np.zeros(cells.num_rows, np.int64)
    for name in named:
        codes = _codes(cells[name])
        # Numbered anew after each column, so that they stay as small as there are rows.
        _, inverse = np.unique(inverse * (int(codes.max()) + 1) + codes, return_inverse=True)
        if inverse.max() + 1 == cells.num_rows:
            return np.zeros(cells.num_rows, bool)
    return np.bincount(inverse)[inverse] > 1


def _codes(column: "pa.ChunkedArray") -> "np.ndarray":
    """Equal numbers for equal values, nulls among them."""
    import numpy as np
    import pyarrow.compute as pc

    whole = pc.dictionary_encode(column.combine_chunks(), null_encoding="encode")
    whole = whole.combine_chunks() if hasattr(whole, "chunks") else whole
    return np.asarray(whole.indices.to_numpy(zero_copy_only=False), dtype=np.int64)
