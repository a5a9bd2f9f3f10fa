"""Crops as a Lance dataset: made beside its place, an image after the other, and put there when it is whole.

What a killed process made is gone on with, image by image, where the same crops are asked for.
"""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import OptionError, SourceNotFoundError
from cytotable_dagster.core.images.cells import ROW
from cytotable_dagster.core.images.cropping import BATCH, Crops
from cytotable_dagster.core.images.cutting import CROP
from cytotable_dagster.core.model.types import Progress
from cytotable_dagster.core.storage.client import is_remote
from cytotable_dagster.core.storage.destination import LocalDestination
from cytotable_dagster.core.support.publication import exists_already

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

ENDING = ".lance"
_MARK = b"cytotable_dagster:crops"
# Crops of one version of the dataset, after which what is made is kept; at the end of an image.
_KEPT = 4096


def save_crops(
    made: Crops, path: str | Path, *, overwrite: bool = False, progress: Progress | None = None, keep: int = _KEPT
) -> Path:
    """Write crops as a Lance dataset, a folder that ends in `.lance`.

    Args:
        progress: called with `crops`, those done and those in all.
        keep: crops after which what is made outlives the process.

    Raises:
        OptionError: a place in a store, or another ending; the lance package is not installed.
        DestinationExistsError: it is there, without `overwrite`.
    """
    if is_remote(str(path)) or Path(path).suffix != ENDING:
        raise OptionError(f"{path}: crops go to a folder of this machine whose name ends in {ENDING}")
    lance = _lance()
    target = Path(path).expanduser().absolute()
    place = LocalDestination(target.parent)
    with place.writing(target.name):
        if target.exists() and not overwrite:
            raise exists_already(target)
        partial = target.with_name(f".{target.name}.partial")
        schema = made.schema.with_metadata({**(made.schema.metadata or {}), _MARK: _mark(made).encode()})
        done = _done(partial, schema.metadata[_MARK])
        if progress is not None:
            progress("crops", len(done), len(made))
        stream = _Stream(made, schema, frozenset(done), keep)
        while not stream.over:
            reader = _reader(stream)
            lance.write_dataset(reader, str(partial), mode="append" if partial.is_dir() else "create")
            if progress is not None:
                progress("crops", len(done) + stream.count, len(made))
        old = target.with_name(f".{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        partial.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    return target


class _Stream:
    """The batches of crops, in shares that end with an image."""

    def __init__(self, made: Crops, schema: "pa.Schema", done: "frozenset[int]", keep: int) -> None:
        self.schema = schema
        self.count = 0
        self.over = False
        self._parts = made.parts(BATCH, done)
        self._keep = keep

    def share(self) -> "Iterator[pa.RecordBatch]":
        count = 0
        for batch, last in self._parts:
            count += batch.num_rows
            self.count += batch.num_rows
            yield batch.replace_schema_metadata(self.schema.metadata)
            if last and count >= self._keep:
                return
        self.over = True


def _reader(stream: _Stream) -> "pa.RecordBatchReader":
    import pyarrow as pa

    return pa.RecordBatchReader.from_batches(stream.schema, stream.share())


def _done(partial: Path, mark: bytes) -> set[int]:
    """The cells that a process before this one made; none, and nothing left of them, where it made other crops."""
    if not partial.is_dir():
        return set()
    try:
        dataset = _lance().dataset(str(partial))
        if (dataset.schema.metadata or {}).get(_MARK) == mark:
            return set(dataset.to_table(columns=[ROW])[ROW].to_pylist())
    except (ValueError, OSError):
        pass
    shutil.rmtree(partial)
    return set()


def _mark(made: Crops) -> str:
    """What tells these crops from others: cells, files and options."""
    facts = made.table.path.stat()
    digest = hashlib.sha256(str((str(made.table.path), facts.st_size, facts.st_mtime_ns)).encode())
    digest.update(made.cells[ROW].to_numpy().tobytes())
    digest.update(repr((made.files, made.channels, made.segmentations, made.size, made.around, made.fit)).encode())
    digest.update(repr((made.dtype, made.crop_type, made.table.where, made.more)).encode())
    return digest.hexdigest()[:16]


def _lance() -> Any:
    try:
        import lance
    except ImportError as error:
        raise OptionError("crops in Lance need its package: pip install 'cytotable-dagster[lance]'") from error
    return lance


def read_crops(
    path: str | Path, where: str | None = None, *, rows: "list[int] | None" = None, columns: "list[str] | None" = None
) -> "tuple[np.ndarray, pa.Table]":
    """Crops of a Lance dataset as an array of shape (cells, channels, size, size), and the rest of their rows.

    Args:
        where: SQL over the dataset's columns, as Lance reads it.
        rows: cells by their `row` in the table of single cells, as a query over that finds them.
        columns: of the rest; None is all.

    Raises:
        SourceNotFoundError: there is no dataset.
        OptionError: a condition that means nothing.
    """
    dataset = _dataset(path)
    conditions = [f"({where})"] if where else []
    if rows is not None:
        conditions.append(f"{ROW} IN ({', '.join(map(str, rows)) or -1})")
    rest = [name for name in dataset.schema.names if name != CROP] if columns is None else list(columns)
    try:
        found = dataset.to_table(columns=[*rest, CROP], filter=" AND ".join(conditions) or None)
    except (ValueError, OSError) as error:
        raise OptionError(f"where={where!r}: {str(error).splitlines()[0]}") from error
    return _array(found[CROP]), found.drop_columns([CROP])


def _array(column: "pa.ChunkedArray") -> "np.ndarray":
    import pyarrow as pa

    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0)
    return whole.to_numpy_ndarray()


def _dataset(path: str | Path) -> Any:
    try:
        return _lance().dataset(str(path))
    except (ValueError, OSError) as error:
        raise SourceNotFoundError(f"{path}: no Lance dataset of crops") from error


@dataclass
class CropDataset:
    """Crops of a Lance dataset one by one, as torch's DataLoader takes them; torch is not needed.

    An item is a dictionary: `crop`, an array of shape (channels, size, size), and the values of `columns`. It may be
    sent to other processes, each of which opens the dataset for itself.

    Args:
        path: of the dataset.
        where: SQL over its columns, as Lance reads it.
        columns: that go with a crop.
        transform: called with the array of a crop, in place of which it gives another.
    """

    path: str | Path
    where: str | None = None
    columns: tuple[str, ...] = ()
    transform: Any = None

    def __post_init__(self) -> None:
        import numpy as np
        import pyarrow.compute as pc

        self._opened: Any = None
        self._places = None
        if self.where is not None:
            wanted = self._dataset().to_table(columns=[ROW], filter=self.where)[ROW].combine_chunks()
            there = self._dataset().to_table(columns=[ROW])[ROW]
            self._places = np.flatnonzero(pc.is_in(there, wanted).to_numpy())
        self._count = self._dataset().count_rows() if self._places is None else len(self._places)

    def __len__(self) -> int:
        return int(self._count)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: "list[int]") -> list[dict[str, Any]]:
        """Several at once, which is one request instead of many."""
        wanted = [int(place) + len(self) * (place < 0) for place in places]
        for place in wanted:
            if not 0 <= place < len(self):
                raise IndexError(f"crop {place} of {len(self)}")
        if self._places is not None:
            wanted = [int(self._places[place]) for place in wanted]
        found = self._dataset().take(wanted, columns=[*self.columns, CROP])
        pixels = _array(found[CROP])
        rest = {name: found[name].to_pylist() for name in self.columns}
        return [
            {CROP: self.transform(one) if self.transform else one, **{name: rest[name][at] for name in rest}}
            for at, one in enumerate(pixels)
        ]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def _dataset(self) -> Any:
        if self._opened is None:
            self._opened = _dataset(self.path)
        return self._opened
