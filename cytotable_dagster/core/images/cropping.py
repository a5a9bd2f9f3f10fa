"""Crops: the pixels of single cells, cut out of images each of which is opened once.

Image sets (all channels of one site) are read a few ahead, and cut one batch at a time, in the order of the sets. What
cannot be had is no error: its cells have a status that says so, and the rest goes on.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.environment import max_threads
from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.execution.stopping import check_stopped
from cytotable_dagster.core.images.boxes import AROUND, BOX, CENTRE, FIT, PAD
from cytotable_dagster.core.images.cells import ROW, CellTable, chosen, open_cells
from cytotable_dagster.core.images.cutting import CROP, OK, SEGMENTATION, Cutter, ImageSet, duplicates
from cytotable_dagster.core.images.files import File, ImageFiles, Key, image_files
from cytotable_dagster.core.images.image import PLATE, SITE, WELL
from cytotable_dagster.core.images.image_sets import image_sets
from cytotable_dagster.core.images.ome import ome_arrow, ome_arrow_struct
from cytotable_dagster.core.images.pixels import ImageError, Opener, checked_dtype, look_at, opener
from cytotable_dagster.core.images.search import Rules, Search
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.model.choices import CROP_TYPES, NONE, OME_ARROW, TENSOR
from cytotable_dagster.core.planning.options import names_in
from cytotable_dagster.core.storage.store import check_keywords
from cytotable_dagster.core.support.arguments import address_in, number_in
from cytotable_dagster.core.support.machine_errors import errors_of_machine
from cytotable_dagster.core.support.suggestions import there_are

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SIZE, LARGEST = 96, 4096
# Cells of a batch: 24 MB of five channels of 16 bits.
BATCH = 256
_LOOKED_AT = 4


@dataclass(frozen=True)
class Crops:
    """Crops to be made: of which cells, out of which files, and how. Iterated, Arrow record batches; as long as there
    are cells.

    Attributes:
        cells: a row for each crop, by image; `more` of its columns go with the crops beside keys and places.
        schema: of the batches; its metadata names the `channels` and `segmentations`, as JSON lists.
        cache: where copies of what is in stores are kept, and how those are spoken to.
        lacking: of the crops made so far those that are not `ok`: how many of each status and detail.
    """

    cells: "pa.Table"
    table: CellTable
    more: tuple[str, ...]
    files: ImageFiles
    channels: tuple[str, ...]
    segmentations: tuple[str, ...]
    size: int
    around: str
    fit: str
    dtype: "np.dtype[Any]"
    crop_type: str
    open_: Opener = field(repr=False)
    cache: Cache = field(repr=False)
    lacking: Counter[tuple[str, str]] = field(default_factory=Counter, repr=False, compare=False)

    def __len__(self) -> int:
        return int(self.cells.num_rows)

    @property
    def schema(self) -> "pa.Schema":
        import pyarrow as pa

        own = [self.cells.schema.field(name) for name in self._kept()]
        text, real, whole = pa.string(), pa.float64(), pa.int64()
        made = [
            ("centre_x", real),
            ("centre_y", real),
            *((side, whole) for side in ("x_min", "x_max", "y_min", "y_max")),
            ("scale", real),
            ("padded", pa.bool_()),
            ("status", text),
            ("detail", text),
            (CROP, self._tensor(pa.from_numpy_dtype(self.dtype), len(self.channels))),
        ]
        if self.segmentations:
            made.append((SEGMENTATION, self._tensor(pa.uint16(), len(self.segmentations))))
        if self.crop_type == OME_ARROW:
            made = [(name, ome_arrow_struct() if name in (CROP, SEGMENTATION) else kind) for name, kind in made]
        told = {"channels": json.dumps(self.channels), "segmentations": json.dumps(self.segmentations)}
        return pa.schema([*own, *(pa.field(*one) for one in made)], metadata=told)

    def _tensor(self, value: "pa.DataType", layers: int) -> "pa.DataType":
        import pyarrow as pa

        return pa.fixed_shape_tensor(value, [layers, self.size, self.size], dim_names=["channel", "y", "x"])

    def _kept(self) -> list[str]:
        """Columns of the cells that go with the crops."""
        kept = [ROW, *self.table.keys, *self.table.objects]
        kept += [self.table.places[place] for place in (PLATE, WELL, SITE) if place in self.table.places]
        return list(dict.fromkeys([*kept, *self.more]))

    def __iter__(self) -> "Iterator[pa.RecordBatch]":
        return self.batches()

    def batches(self, rows: int = BATCH, without: "frozenset[int]" = frozenset()) -> "Iterator[pa.RecordBatch]":
        """Batches of at most so many rows, none of two images; `without` images all of whose cells are in these
        `row`s."""
        for batch, _ in self.parts(rows, without):
            yield batch

    def parts(self, rows: int, without: "frozenset[int]") -> "Iterator[tuple[pa.RecordBatch, bool]]":
        """The same, with whether a batch is the last of its image."""
        schema, kept = self.schema, self._kept()
        twice = duplicates(self.cells, [*self.files.keys, *self.table.keys, *self.table.objects])
        cutter = Cutter(self.table.where, self.size, self.around, self.fit, self.dtype)
        for cells, images, numbers in self._sets(without):
            for start in range(0, cells.num_rows, rows):
                check_stopped()
                part = cells.slice(start, rows)
                made = cutter.cut(part, images, twice[numbers[0] + start : numbers[0] + start + part.num_rows])
                told = zip(made["status"].to_pylist(), made["detail"].to_pylist(), strict=True)
                self.lacking.update(one for one in told if one[0] != OK)
                columns = [part[name].combine_chunks() if name in kept else made[name] for name in schema.names]
                yield self._batch(columns, schema), start + rows >= cells.num_rows

    def _batch(self, columns: "Sequence[pa.Array]", schema: "pa.Schema") -> "pa.RecordBatch":
        import pyarrow as pa

        arrays = []
        for column, field_ in zip(columns, schema, strict=True):
            array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            if isinstance(field_.type, pa.BaseExtensionType):
                array = pa.ExtensionArray.from_storage(field_.type, array)
            elif field_.type == ome_arrow_struct():
                names = self.channels if field_.name == CROP else self.segmentations
                array = ome_arrow(array, self.size, names, "image" if field_.name == CROP else "label")
            arrays.append(array)
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _sets(self, without: "frozenset[int]") -> "Iterator[tuple[pa.Table, ImageSet, tuple[int, int]]]":
        """The cells of each image with its pixels, and where those cells are."""

        def files_of(key: Key) -> tuple[list[File | None], list[File | None]]:
            own, other = self.files.files.get(key, {}), self.files.segmentations.get(key, {})
            return [own.get(name) for name in self.channels], [other.get(name) for name in self.segmentations]

        names = (self.channels, self.segmentations)
        return image_sets(self.cells, self.files.keys, files_of, names, self.open_, without)


@errors_of_machine()
def crops(
    single_cells: str | Path,
    where: str | None = None,
    *,
    limit: int | None = None,
    per_well: int | None = None,
    channels: str | Iterable[str] | None = None,
    segmentations: str | Iterable[str] | None = None,
    size: int = SIZE,
    around: str = CENTRE,
    fit: str = PAD,
    bbox_column_map: Mapping[str, str] | None = None,
    dtype: str | None = None,
    crop_type: str = TENSOR,
    rows: Iterable[int] | None = None,
    columns: str | Iterable[str] = (),
    provenance: str | Path | None = None,
    image_dir: str | Path | None = None,
    mask_dir: str | Path | None = None,
    outline_dir: str | Path | None = None,
    segmentation_file_regex: Mapping[str, str] | None = None,
    path_rules: Rules = None,
    load_data: str | Path | None = None,
    **cloud: Any,
) -> Crops:
    """The pixels of single cells, read when they are asked for: `for batch in crops(...)` gives Arrow record batches.

    A row has the cell's keys, plate, well and site, `row` (where the cell stands in the table), the centre and the box
    that was cut out, in pixels of the image; `scale` (pixels of the crop for one of the image), `padded` (something of
    it lies outside of the image, and is 0), `status` (one of `ok`, `incomplete`, `no image`, `unreadable`, `no centre`,
    `outside`, `duplicate key`), `detail`, and `crop`, a tensor of shape (channels, size, size).

    Args:
        single_cells: the Parquet file of joined cells, local or of a store, or a folder of such.
        where: SQL over its columns, such as `Cells_AreaShape_Area > 2000`.
        limit: of those the first so many.
        per_well: of each well so many, of as few of its images as have them; the same ones each time.
        channels: by name, in this order (`DNA` is `OrigDNA` too); None is all.
        segmentations: names of masks or outlines, which become one more tensor, `segmentation`.
        size: edge of a crop in pixels.
        around: `centre` cuts a square around the nucleus' centre (else the cell's, the cytoplasm's, the box's); `box`
            takes the bounding box.
        fit: of boxes: `pad` puts one into the middle of the crop, and shrinks it where it is larger; `resize` makes all
            as large as the crop.
        bbox_column_map: columns of the box, by `x_min`, `x_max`, `y_min`, `y_max`; None is CellProfiler's.
        dtype: `uint8`, `uint16` or `float32`; None is what the first images are.
        rows: only cells at these places of the table.
        columns: more of the table's columns to go with the crops.
        crop_type: `tensor`, or `ome-arrow`: the struct of the ome-arrow package, of 16 bits.
        provenance: a Parquet file that says where images are; None is `_about/provenance.parquet` beside the table,
            else what the table's own columns say, with the options that follow as `convert` takes them.
        cloud: what the store's client takes.

    Raises:
        OptionError: an option, or a condition, that means nothing; neither provenance nor table names images.
        SourceNotFoundError: there is no such table.
    """
    check_keywords(crops, cloud)
    size = number_in("size", size, "pixels", LARGEST)
    columns = names_in("columns", columns) or ()
    channels, segmentations = names_in("channels", channels), names_in("segmentations", segmentations)
    for name, value, known in (("around", around, AROUND), ("fit", fit, FIT), ("crop_type", crop_type, CROP_TYPES)):
        if value not in known:
            raise OptionError(f"{name} {value!r} is not known; {there_are(str(value), known)}")
    max_threads()
    cache = Cache.checked(cloud)
    search = Search.checked(
        image_dir=image_dir,
        mask_dir=mask_dir,
        outline_dir=outline_dir,
        segmentation_file_regex=segmentation_file_regex,
        path_rules=path_rules,
        load_data=load_data,
        verify=NONE,
        cache=cache,
    )
    wanted_dtype = checked_dtype(dtype)
    if provenance is not None:
        provenance = address_in("provenance", provenance)
    table = open_cells(single_cells, cache, bbox_column_map)
    if around == BOX and table.where.box is None:
        raise OptionError(f"around='box': {table.address} has no AreaShape_BoundingBox columns; give bbox_column_map=")
    for name in columns:
        if name not in table.columns:
            raise OptionError(f"columns: {table.address} has no column {name!r}")
    files = image_files(table, provenance, search)
    cells = chosen(table, where, limit=limit, per_well=per_well, rows=rows, more=columns)
    open_ = opener(cache.store)
    taken = files.chosen(channels)
    return Crops(
        cells=cells,
        table=table,
        more=columns,
        files=files,
        channels=taken,
        segmentations=files.chosen_segmentations(segmentations),
        size=size,
        around=around,
        fit=fit,
        dtype=wanted_dtype or _dtype_of(files, taken, open_),
        crop_type=crop_type,
        open_=open_,
        cache=cache,
    )


def _dtype_of(files: ImageFiles, channels: Sequence[str], open_: Opener) -> "np.dtype[Any]":
    """The type that holds what the first images of each channel hold."""
    import numpy as np

    found: list[np.dtype[Any]] = []
    for channel in channels:
        tried = 0
        for own in files.files.values():
            file = own.get(channel)
            if file is None or file.problem is not None or file.uri is None:
                continue
            try:
                found.append(look_at(file.uri, open_).dtype)
                break
            except ImageError:
                tried += 1
                if tried == _LOOKED_AT:
                    break
    kinds = {np.dtype(np.uint8) if kind.kind == "b" else kind for kind in found}
    if any(np.issubdtype(kind, np.floating) for kind in kinds):
        return np.dtype(np.float32)
    return np.dtype(np.uint8) if kinds == {np.dtype(np.uint8)} else np.dtype(np.uint16)
