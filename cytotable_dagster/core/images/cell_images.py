"""Cells of a table with all pixels of their images: channels, and the masks and outlines that are called after them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.images.cells import CellTable, chosen, open_cells
from cytotable_dagster.core.images.cutting import Layer, fitting
from cytotable_dagster.core.images.files import File, Key, file_of, images_of_cells
from cytotable_dagster.core.images.image import BY_FOLDER, IMAGE, MASK, OUTLINE
from cytotable_dagster.core.images.image_sets import image_sets
from cytotable_dagster.core.images.pixels import Opener, opener
from cytotable_dagster.core.images.search import Search

if TYPE_CHECKING:
    import pyarrow as pa

_KINDS = (IMAGE, OUTLINE, MASK)


@dataclass(frozen=True)
class ChannelLayers:
    """One channel of one image: its pixels, and those of its outline and mask where there are any, of 16 bits. `column`
    names its file in the table."""

    name: str
    column: str
    image: Layer
    outline: Layer | None
    mask: Layer | None


@dataclass(frozen=True)
class CellImages:
    """Cells of a table and the files of their images.

    Attributes:
        columns: of the table, which name the files of channels, by channel.
        more: columns that go with the cells.
        guessed: addresses of images that a folder gave by what they are called, which might be another plate's.
    """

    table: CellTable
    columns: Mapping[str, str]
    more: tuple[str, ...]
    files: Mapping[tuple[Key, str, str], File]
    guessed: frozenset[str]
    open_: Opener = field(repr=False)

    @property
    def images(self) -> int:
        """How many images there are."""
        return len({key for key, _, _ in self.files})

    def sets(self) -> "Iterator[tuple[pa.Table, list[ChannelLayers]]]":
        """The cells of each image, and its channels."""
        import numpy as np

        channels = tuple(self.columns)

        def files_of(key: Key) -> tuple[list[File | None], list[File | None]]:
            own, *others = ([self.files.get((key, kind, channel)) for channel in channels] for kind in _KINDS)
            return own, [file for files in others for file in files]

        cells = chosen(self.table, more=self.more)
        sort = np.dtype(np.uint16)
        for own, found, _ in image_sets(cells, self.table.keys, files_of, (channels, channels * 2), self.open_):
            images = [fitting(layer, sort) for layer in found.channels]
            others = [_there(fitting(layer, sort)) for layer in found.segmentations]
            count = len(channels)
            made = zip(channels, self.columns.values(), images, others[:count], others[count:], strict=True)
            yield own, [ChannelLayers(*layers) for layers in made]


def _there(layer: Layer) -> Layer | None:
    return None if layer.pixels is None else layer


def open_cell_images(path: Path, search: Search, columns: Sequence[str], box: Mapping[str, str]) -> CellImages:
    """The cells of a Parquet file, or a folder of such, and their images.

    Args:
        columns: of the table, which go with the cells.
        box: columns of an object's box, by `x_min`, `x_max`, `y_min`, `y_max`.

    Raises:
        OptionError: no column names images, or none of them is where the search says.
    """
    table = open_cells(str(path), search.cache, box)
    channels, found = images_of_cells(table, search)
    named = {own.channel: own.columns.get("file") or own.columns["url"] for own in channels if own.kind == IMAGE}
    files = {(tuple(image.keys), image.kind, image.channel): file_of(image) for image in found if image.kind in _KINDS}
    images = [file for (_, kind, _), file in files.items() if kind == IMAGE]
    if all(file.problem is not None for file in images):
        told = images[0].problem if images else f"{table.address}: no column names images"
        raise OptionError(f"no crops of images can be made: {told}")
    guessed = frozenset(image.uri for image in found if image.kind == IMAGE and image.uri and image.found in BY_FOLDER)
    more = tuple(dict.fromkeys([*columns, *named.values(), *box.values()]))
    return CellImages(table, named, more, files, guessed, opener(search.cache.store))
