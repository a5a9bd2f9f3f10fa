"""Crops out of a Lance dataset: by condition, or one by one."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.images.cells import ROW
from cytotable_dagster.core.images.cutting import CROP
from cytotable_dagster.core.images.lance_place import errors_of_lance, opened
from cytotable_dagster.core.planning.options import names_in
from cytotable_dagster.core.storage.store import Store, check_keywords
from cytotable_dagster.core.support.arguments import rows_in, text_in
from cytotable_dagster.core.support.machine_errors import errors_of_machine

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# How Lance begins where not the dataset is at fault, but what is asked of it.
_OF_THE_USER = "Invalid user input"


@errors_of_machine()
def read_crops(
    path: str | Path,
    where: str | None = None,
    *,
    rows: Iterable[int] | None = None,
    columns: str | Iterable[str] | None = None,
    **cloud: Any,
) -> "tuple[np.ndarray, pa.Table]":
    """Crops of a Lance dataset as an array of shape (cells, channels, size, size), and the rest of their rows.

    Args:
        where: SQL over the dataset's columns, as Lance reads it.
        rows: cells by their `row` in the table of single cells, as a query over that finds them.
        columns: of the rest; None is all.
        cloud: what the store's client takes, of a dataset in a store.

    Raises:
        SourceNotFoundError: there is no dataset.
        OptionError: a condition that means nothing.
        SourceAccessError, DownloadError: the store refuses, or fails.
    """
    check_keywords(read_crops, cloud)
    dataset = opened(path, Store.checked(cloud))
    conditions = [] if where is None else [f"({text_in('where', where, 'row < 100')})"]
    rows = rows_in("rows", rows)
    if rows is not None:
        conditions.append(f"{ROW} IN ({', '.join(map(str, rows)) or -1})")
    rest = names_in("columns", [name for name in dataset.schema.names if name != CROP] if columns is None else columns)
    with _errors(path, where):
        found = dataset.to_table(columns=[*(rest or ()), CROP], filter=" AND ".join(conditions) or None)
    return _array(found[CROP]), found.drop_columns([CROP])


def crop_statuses(path: str | Path, **cloud: Any) -> dict[str, int]:
    """How many crops of a Lance dataset there are of each status."""
    check_keywords(crop_statuses, cloud)
    dataset = opened(path, Store.checked(cloud))
    with _errors(path):
        return dict(Counter(dataset.to_table(columns=["status"])["status"].to_pylist()))


@contextmanager
def _errors(path: str | Path, where: str | None = None) -> Iterator[None]:
    with errors_of_lance(str(path)):
        try:
            yield
        except ValueError as error:
            if str(error).startswith(_OF_THE_USER):
                raise OptionError(f"where={where!r}: {str(error).splitlines()[0]}") from error
            raise


def _array(column: "pa.ChunkedArray") -> "np.ndarray":
    import pyarrow as pa

    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0)
    return whole.to_numpy_ndarray()


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
        cloud: what the store's client takes, of a dataset in a store.
    """

    path: str | Path
    where: str | None = None
    columns: tuple[str, ...] = ()
    transform: Any = None
    cloud: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        import numpy as np
        import pyarrow.compute as pc

        self._store = Store.checked(self.cloud)
        self._opened: Any = None
        self._places = None
        if self.where is not None:
            with _errors(self.path, self.where):
                wanted = self._dataset().to_table(columns=[ROW], filter=self.where)[ROW].combine_chunks()
                there = self._dataset().to_table(columns=[ROW])[ROW]
            self._places = np.flatnonzero(pc.is_in(there, wanted).to_numpy())
        with _errors(self.path):
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
        with _errors(self.path):
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
            self._opened = opened(self.path, self._store)
        return self._opened
