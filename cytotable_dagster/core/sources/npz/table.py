"""A plate that lies in NPZ files, one for each site, read as one table of cells.

Row numbers count the cells of all files, in the order of the files' names. An image's number is that of its file, an
object's its place in it.
"""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import SchemaError, SourceChangedError, SourceNotFoundError
from cytotable_dagster.core.model.coercions import merged
from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.model.types import Coercion, SourceColumn
from cytotable_dagster.core.model.values import typed_array
from cytotable_dagster.core.sources.npz.file import Site, read_cells, read_site
from cytotable_dagster.core.sources.npz.plain_pickle import Value
from cytotable_dagster.core.sources.protocols import Found
from cytotable_dagster.core.support.arrays import from_numpy
from cytotable_dagster.core.support.cores import cores
from cytotable_dagster.core.support.file_values import FILE_VALUES
from cytotable_dagster.core.support.files import whole_file

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_SOURCE = "Metadata_NPZSource"
_PLACES = ("Location_Center_X", "Location_Center_Y")
# What features are called after, as CytoTable does.
_MODEL, _NO_MODEL = "Metadata_Model", "DP"
_SITE = ("Metadata_Plate", "Metadata_Well", "Metadata_Site")
# Tables of which it is kept what is known of them.
_KEPT = 8
_AFFINITY = {int: "INTEGER", float: "REAL", str: "TEXT"}


@dataclass(frozen=True)
class NpzFile:
    """One of a plate's files: its name as of the plate's folder, where it is, and what it says of itself."""

    name: str
    path: str
    site: Site


@dataclass(frozen=True)
class NpzTable:
    """The cells of a plate's files; see `protocols.FilesReader`. `keys` are what the two numbers are called, `features`
    the names of the features."""

    files: tuple[NpzFile, ...]
    keys: tuple[str, ...]
    features: tuple[str, ...]
    notes: tuple[str, ...] = ()

    reader = "npz"
    reason = ""
    tells_words = False
    left_out = ()
    rows_left_out = 0

    @cached_property
    def metadata(self) -> tuple[str, ...]:
        """Names of what the files know of their sites."""
        return tuple(dict.fromkeys(name for file in self.files for name in file.site.metadata))

    @cached_property
    def columns(self) -> tuple[SourceColumn, ...]:
        numbers = [SourceColumn(name, "", "INTEGER") for name in self.keys]
        known = [SourceColumn(name, "", self._affinity(name), measured=False) for name in self.metadata]
        reals = [SourceColumn(name, "", "REAL") for name in (*_PLACES, *self.features)]
        return (*numbers, SourceColumn(_SOURCE, "", "TEXT"), *known, *reals)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The row number of each file's first cell, and the number of all cells."""
        return tuple(itertools.accumulate((file.site.cells for file in self.files), initial=0))

    def read_keys(self, others: Sequence[str]) -> "tuple[np.ndarray, list[pa.Array]]":
        import numpy as np

        rows = np.arange(self.starts[-1])
        owners, places = self._owners(rows)
        return rows, [from_numpy(owners + 1), from_numpy(places + 1)]

    def profile(self) -> "np.ndarray":
        """Counts of storage classes, shape (columns, 5)."""
        import numpy as np

        counts = np.zeros((len(self.columns), 5), np.int64)
        classes = {type(None): 0, int: 1, float: 2, str: 3}
        first = len(self.keys) + 1
        counts[: len(self.keys), 1] = counts[first:, 2] = counts[first - 1, 3] = self.starts[-1]
        for at, name in enumerate(self.metadata, start=first):
            counts[at] = 0
            for file in self.files:
                counts[at, classes[type(file.site.metadata.get(name))]] += file.site.cells
        return counts

    def batches(
        self, wanted: "Sequence[np.ndarray]", columns: Sequence[str], types: "Sequence[pa.DataType]"
    ) -> "Iterator[tuple[list[pa.Array], tuple[Coercion, ...]]]":
        """For each array of row numbers, the columns of those rows; a row number of -1 is a row of nulls."""
        import numpy as np

        @lru_cache(maxsize=1)
        def cells_of(file: int) -> "np.ndarray":
            return self._cells(self.files[file])

        reals = {name: place for place, name in enumerate((*_PLACES, *self.features))}
        measured = [name for name in columns if name in reals]
        for rows in wanted:
            owners, places = self._owners(rows)
            values = _gathered(owners, places, cells_of, np.array([reals[name] for name in measured], int))
            found = {name: _as_arrow(row) for name, row in zip(measured, values, strict=True)}
            coercions = []
            for name, type in zip(columns, types, strict=True):
                if name in found:
                    found[name] = found[name].cast(type)
                else:
                    found[name], coercion = typed_array(self._values(name, owners, places), name, type)
                    coercions += [coercion] if coercion else []
            yield [found[name] for name in columns], merged(coercions)

    def _affinity(self, name: str) -> str:
        kinds = {type(file.site.metadata.get(name)) for file in self.files} - {type(None)}
        return _AFFINITY[kinds.pop()] if len(kinds) == 1 else "BLOB"

    def _owners(self, rows: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
        """The file of each row (-1 for rows of nulls), and the place in it."""
        import numpy as np

        starts = np.array(self.starts)
        owners = np.searchsorted(starts, rows, side="right") - 1
        return owners, rows - np.where(owners < 0, 0, starts[owners])

    def _values(self, name: str, owners: "np.ndarray", places: "np.ndarray") -> list[Value]:
        """A column that is no measurement."""
        if name == self.keys[0]:
            return [owner + 1 if owner >= 0 else None for owner in owners.tolist()]
        if name == self.keys[1]:
            return [place + 1 if place >= 0 else None for place in places.tolist()]
        by_file = [Path(file.name).name if name == _SOURCE else file.site.metadata.get(name) for file in self.files]
        return [by_file[owner] if owner >= 0 else None for owner in owners.tolist()]

    def _cells(self, file: NpzFile) -> "np.ndarray":
        """Places and features of a file's cells, shape (2 + features, cells)."""
        import numpy as np

        features, places = read_cells(Path(file.path))
        if features.shape != (file.site.cells, len(self.features)) or len(places) != file.site.cells:
            raise SourceChangedError(f"{file.path}: was written to while it was read; convert again")
        return np.concatenate([places.T, features.T])


def find_npz_table(root: Path, files: Sequence[tuple[str, Path]], preset: Preset, folder: Path) -> Found:
    """The table of the plate in these files, by the headers of their arrays.

    Args:
        files: names as of `root`, and paths.
        folder: the plan's, for what the conversion reads again.

    Raises:
        SourceNotFoundError: there are none.
        SourceFormatError: one is no NPZ file of DeepProfiler's, or refused; see `file.read_site`.
        SchemaError: two have other features.
    """
    filled = [(name, path) for name, path in files if path.stat().st_size]
    if not filled:
        raise SourceNotFoundError(f"{root}: no NPZ files with anything in them, there or below")
    with ThreadPoolExecutor(cores()) as pool:
        sites = pool.map(read_site, [path for _, path in filled])
        found = tuple(NpzFile(name, str(path), site) for (name, path), site in zip(filled, sites, strict=True))
    (compartment,) = preset.compartments
    table = NpzTable(found, preset.keys_of(compartment), _features(found), _notes(found))
    _refuse_equal_names(table)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(npz_table_path(folder, compartment)) as temporary:
        temporary.write_text(json.dumps(asdict(table)))
    empty = tuple((name, "empty (0 bytes)") for name, path in files if not path.stat().st_size)
    return Found({preset.table: table}, empty, ())


def npz_table_path(folder: Path, compartment: str) -> Path:
    """Where a plan keeps what it knows of a plate's files."""
    return folder / f"{compartment}.npz.json"


def load_npz_table(path: Path) -> NpzTable:
    return FILE_VALUES.get(path, _load_npz_table, _KEPT)


def _load_npz_table(path: Path) -> NpzTable:
    known = json.loads(path.read_text())
    files = tuple(NpzFile(file["name"], file["path"], Site(**file["site"])) for file in known["files"])
    return NpzTable(files, tuple(known["keys"]), tuple(known["features"]), tuple(known["notes"]))


def _features(files: Sequence[NpzFile]) -> tuple[str, ...]:
    """Names of the features, which all files have in common."""
    model, first = None, None
    for file in files:
        if file.site.cells:
            own = (str(file.site.metadata.get(_MODEL) or _NO_MODEL), file.site.features)
            model, first = model or own, first or file
            if own != model:
                raise SchemaError(
                    f"{first.path} has {model[1]} features of {model[0]}, {file.path} has {own[1]} of {own[0]}; "
                    "what one model measured is one plate: move the others to a folder of their own"
                )
    name, count = model or (_NO_MODEL, 0)
    return tuple(f"{name}_{number}" for number in range(1, count + 1))


def _notes(files: Sequence[NpzFile]) -> tuple[str, ...]:
    notes = [f"{file.name}: no cells" for file in files if not file.site.cells]
    names = Counter(name for file in files for name in file.site.metadata)
    for name, count in names.items():
        if count < len(files):
            lacking = next(file.name for file in files if name not in file.site.metadata)
            notes.append(f"{len(files) - count} of {len(files)} files do not tell {name}, such as {lacking}")
    sites: dict[tuple[Value, ...], str] = {}
    for file in files:
        site = tuple(file.site.metadata.get(name) for name in _SITE)
        other = sites.setdefault(site, file.name)
        if other != file.name and None not in site:
            notes.append(f"{other} and {file.name} are of one site: {', '.join(map(str, site))}")
    return tuple(notes)


def _refuse_equal_names(table: NpzTable) -> None:
    name, count = Counter(column.name for column in table.columns).most_common(1)[0]
    if count > 1:
        raise SchemaError(f"{table.files[0].path}: its metadata has a {name}, as the table has; rename it")


def _gathered(
    owners: "np.ndarray", places: "np.ndarray", cells_of: "Callable[[int], np.ndarray]", columns: "np.ndarray"
) -> "np.ndarray":
    """Measurements of these cells, shape (columns, cells); NaN where there is none."""
    import numpy as np

    values = np.full((len(columns), len(owners)), np.nan)
    if not len(columns) or not len(owners):
        return values
    bounds = [0, *(np.flatnonzero(np.diff(owners)) + 1).tolist(), len(owners)]
    for start, end in itertools.pairwise(bounds):
        if owners[start] >= 0:
            values[:, start:end] = cells_of(int(owners[start]))[np.ix_(columns, places[start:end])]
    return values


def _as_arrow(values: "np.ndarray") -> "pa.Array":
    """An array in which what is no number is missing, as it is in every source."""
    import numpy as np

    missing = np.isnan(values)
    return from_numpy(values, ~missing) if missing.any() else from_numpy(values)
