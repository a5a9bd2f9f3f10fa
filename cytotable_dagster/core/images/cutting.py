"""Cells cut out of the pixels of their image set, a batch of them at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.images.boxes import BOX, Cut, PlaceColumns, cut_at, cut_out, fitted, is_outside
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

# Where a cell may be, so that a square around it has whole numbers for sides.
_FARTHEST = 2.0**31


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
        layers = [self._fitting(layer, self.dtype) for layer in images.channels]
        others = [self._fitting(layer, np.dtype(np.uint16)) for layer in images.segmentations]
        xs, ys, boxes = self._places(cells)
        out = np.zeros((count, len(layers), self.size, self.size), self.dtype)
        more = np.zeros((count, len(others), self.size, self.size), np.uint16)
        sides = np.zeros((count, 4), np.int64)
        known = np.zeros(count, bool)
        scales = np.ones(count)
        padded = np.zeros(count, bool)
        status, detail = _status_of(layers)
        statuses: list[str] = [status] * count
        details: list[str | None] = [detail] * count
        drawn = [
            (layer.pixels, target[:, place])
            for own, target in ((layers, out), (others, more))
            for place, layer in enumerate(own)
            if layer.pixels is not None
        ]
        for cell in range(count):
            cut = self._cut_of(xs[cell], ys[cell], None if boxes is None else boxes[cell])
            if cut is None:
                statuses[cell], details[cell] = NO_CENTRE, "no column says where the cell is, or it says NaN"
                continue
            sides[cell] = cut.left, cut.right, cut.top, cut.bottom
            known[cell] = True
            if drawn and all(is_outside(cut, *pixels.shape) for pixels, _ in drawn):
                height, width = drawn[0][0].shape
                statuses[cell] = OUTSIDE
                place = f"x {cut.left} to {cut.right}, y {cut.top} to {cut.bottom}"
                details[cell] = f"at {place} of an image of {width} x {height} pixels"
                padded[cell] = True
                continue
            for pixels, target in drawn:
                outside, scale = self._draw(pixels, cut, target[cell])
                padded[cell] |= outside
                scales[cell] = scale
            if twice[cell] and statuses[cell] == OK:
                statuses[cell], details[cell] = DUPLICATE, "another row of the table has the same key"
        names = ("x_min", "x_max", "y_min", "y_max")
        return {
            "centre_x": pa.array(xs, mask=~np.isfinite(xs)),
            "centre_y": pa.array(ys, mask=~np.isfinite(ys)),
            **{name: pa.array(sides[:, place], mask=~known) for place, name in enumerate(names)},
            "scale": pa.array(scales),
            "padded": pa.array(padded),
            "status": pa.array(statuses, pa.string()),
            "detail": pa.array(details, pa.string()),
            CROP: _tensors(out),
            SEGMENTATION: _tensors(more),
        }

    def _draw(self, pixels: "np.ndarray", cut: Cut, target: "np.ndarray") -> tuple[bool, float]:
        import numpy as np

        if (cut.height, cut.width) == target.shape:
            return cut_out(pixels, cut, target), 1.0
        # A box is as large as a cell that somebody wrote; what lies in the image is all of it that is looked at.
        height, width = pixels.shape
        inside = Cut(max(cut.top, 0), max(cut.left, 0), min(cut.bottom, height), min(cut.right, width))
        if inside.height <= 0 or inside.width <= 0:
            return True, 1.0
        own = np.zeros((inside.height, inside.width), pixels.dtype)
        cut_out(pixels, inside, own)
        made, scale = fitted(own, self.size, self.fit)
        target[...] = made
        return inside != cut, scale

    def _cut_of(self, x: float, y: float, box: "np.ndarray | None") -> Cut | None:
        import numpy as np

        if self.around == BOX:
            if box is None or not np.isfinite(box).all() or (np.abs(box) > _FARTHEST).any():
                return None
            left, right, top, bottom = (int(side) for side in box)
            return Cut(top, left, bottom, right) if left < right and top < bottom else None
        if not (np.isfinite(x) and np.isfinite(y)) or max(abs(x), abs(y)) > _FARTHEST:
            return None
        return cut_at(float(x), float(y), self.size)

    def _places(self, cells: "pa.Table") -> "tuple[np.ndarray, np.ndarray, np.ndarray | None]":
        """Centres, the first that is known, and boxes as x_min, x_max, y_min, y_max; NaN where there is none."""
        import numpy as np

        boxes = None
        if self.where.box is not None:
            sides = [_numbers(cells, self.where.box[side]) for side in ("x_min", "x_max", "y_min", "y_max")]
            boxes = np.stack(sides, axis=1)
        xs = np.full(cells.num_rows, np.nan)
        ys = xs.copy()
        for x_name, y_name in self.where.centres:
            open_ = ~(np.isfinite(xs) & np.isfinite(ys))
            if not open_.any():
                break
            xs = np.where(open_, _numbers(cells, x_name), xs)
            ys = np.where(open_, _numbers(cells, y_name), ys)
        if boxes is not None:
            open_ = ~(np.isfinite(xs) & np.isfinite(ys))
            xs = np.where(open_, (boxes[:, 0] + boxes[:, 1] - 1) / 2, xs)
            ys = np.where(open_, (boxes[:, 2] + boxes[:, 3] - 1) / 2, ys)
        return xs, ys, boxes

    @staticmethod
    def _fitting(layer: Layer, dtype: "np.dtype[Any]") -> Layer:
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
        return np.asarray(pc.cast(column, pa.float64()).to_numpy(), dtype=np.float64)
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
    codes = np.stack([_codes(cells[name]) for name in named])
    _, inverse, counts = np.unique(codes, axis=1, return_inverse=True, return_counts=True)
    return counts[inverse.reshape(-1)] > 1


def _codes(column: "pa.ChunkedArray") -> "np.ndarray":
    """Equal numbers for equal values, nulls among them."""
    import numpy as np
    import pyarrow.compute as pc

    whole = pc.dictionary_encode(column.combine_chunks(), null_encoding="encode")
    whole = whole.combine_chunks() if hasattr(whole, "chunks") else whole
    return np.asarray(whole.indices.to_numpy(zero_copy_only=False), dtype=np.int64)
