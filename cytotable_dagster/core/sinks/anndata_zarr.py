"""AnnData as a Zarr store of format 2, which all versions of Zarr read: a folder with a file for each chunk.

The files are written here, as Zarr (https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html) and AnnData
(https://anndata.readthedocs.io/en/stable/fileformat-prose.html) say: their packages take 15 ms of a processor for each
column of obs, and go on writing in threads of their own where one chunk finds no room.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.sinks.anndata_parts import Frame
from cytotable_dagster.core.sinks.matrix import Matrix
from cytotable_dagster.core.support.cores import cores

if TYPE_CHECKING:
    import numpy as np

# Bytes. Each chunk is a file, and an object of a store.
_CHUNK = 1 << 24
# Threads hold a chunk each, and what it is packed to.
_MOST_THREADS = 4


@contextmanager
def zarr_store(path: Path) -> "Iterator[ZarrStore]":
    """A new store."""
    store = ZarrStore(path)
    store.group("", ("anndata", "0.1.0"))
    yield store
    store.consolidate()


class ZarrStore:
    """Elements of AnnData below a folder, each under a key with `/` between groups."""

    def __init__(self, root: Path) -> None:
        from numcodecs import Blosc, VLenUTF8

        self._root = root
        self._texts = VLenUTF8()
        # Of what cannot be compressed much, more effort takes twice the time for a hundredth of the size.
        self._packed = Blosc("zstd", clevel=1, shuffle=Blosc.SHUFFLE)
        self._told: dict[str, Any] = {}

    def put(self, key: str, value: Any) -> None:
        """An element, and those in it."""
        import numpy as np
        import pandas as pd

        if isinstance(value, Mapping):
            self.group(key, ("dict", "0.1.0"))
            for name, inner in value.items():
                self.put(f"{key}/{name}", inner)
        elif isinstance(value, Frame):
            about = {"_index": "_index", "column-order": value.columns}
            self.group(key, ("dataframe", "0.2.0"), **about)
            self.put(f"{key}/_index", value.index)
        elif isinstance(value, pd.Categorical):
            self.group(key, ("categorical", "0.2.0"), ordered=False)
            self.put(f"{key}/codes", value.codes)
            self.put(f"{key}/categories", value.categories.to_numpy())
        elif isinstance(value, np.ndarray):
            self._array(key, value, ("string-array" if value.dtype.kind == "O" else "array", "0.2.0"))
        elif isinstance(value, str):
            text = np.array([value], object)
            self._describe(key, (), (), text.dtype, ("string", "0.2.0"))
            self._chunk(f"{key}/0", text, 1)
        else:  # numbers of pandas, with nulls
            is_bool = value.dtype.numpy_dtype.kind == "b"
            self.group(key, ("nullable-boolean" if is_bool else "nullable-integer", "0.1.0"))
            self.put(f"{key}/values", value.to_numpy(value.dtype.numpy_dtype, na_value=0))
            self.put(f"{key}/mask", value.isna())

    def put_x(self, matrix: Matrix) -> None:
        """X, its chunks in threads."""
        import numpy as np

        rows, (count, width) = matrix.rows_in(_CHUNK), matrix.shape
        self._describe("X", (count, width), (rows, width), np.dtype(matrix.dtype), ("array", "0.2.0"))
        with ThreadPoolExecutor(min(cores(), _MOST_THREADS)) as threads:
            for start, block in matrix.blocks(rows):

                def write(first: int, start: int = start, block: "np.ndarray" = block) -> None:
                    self._chunk(f"X/{(start + first) // rows}.0", block[:, first : first + rows].T, rows)

                # What a thread could not write is raised here.
                list(threads.map(write, range(0, block.shape[1], rows)))

    def group(self, key: str, encoding: tuple[str, str], **attributes: Any) -> None:
        """A group, which elements are put into."""
        (self._root / key).mkdir(parents=True)
        self._tell(key, ".zgroup", {"zarr_format": 2})
        self._encode(key, encoding, attributes)

    def consolidate(self) -> None:
        """What all of it is in one file, so that who opens it need not look for each part."""
        (self._root / ".zmetadata").write_text(json.dumps({"zarr_consolidated_format": 1, "metadata": self._told}))

    def _array(self, key: str, values: "np.ndarray", encoding: tuple[str, str]) -> None:
        rows = max(1, min(len(values), _CHUNK // max(1, values[:1].nbytes)))
        self._describe(key, values.shape, (rows, *values.shape[1:]), values.dtype, encoding)
        for number, first in enumerate(range(0, len(values), rows)):
            self._chunk(f"{key}/{number}{'.0' * (values.ndim - 1)}", values[first : first + rows], rows)

    def _describe(
        self, key: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: "np.dtype", encoding: tuple[str, str]
    ) -> None:
        (self._root / key).mkdir()
        is_text = dtype.kind == "O"
        # A chunk that a reader does not find is no measurement of zero.
        nothing: Any = "" if is_text else "NaN" if dtype.kind == "f" else False if dtype.kind == "b" else 0
        about = {
            "zarr_format": 2,
            "shape": shape,
            "chunks": chunks,
            "dtype": dtype.str,
            "compressor": self._packed.get_config(),
            "fill_value": nothing,
            "filters": [self._texts.get_config()] if is_text else None,
            "order": "C",
            "dimension_separator": ".",
        }
        self._tell(key, ".zarray", about)
        self._encode(key, encoding, {})

    def _chunk(self, file: str, values: "np.ndarray", rows: int) -> None:
        """A chunk of so many rows, the last of an array filled up."""
        import numpy as np

        if len(values) < rows:
            nothing = "" if values.dtype.kind == "O" else 0
            values = np.concatenate([values, np.full((rows - len(values), *values.shape[1:]), nothing, values.dtype)])
        content = self._texts.encode(values) if values.dtype.kind == "O" else np.ascontiguousarray(values)
        (self._root / file).write_bytes(self._packed.encode(content))

    def _encode(self, key: str, encoding: tuple[str, str], attributes: Mapping[str, Any]) -> None:
        kind, version = encoding
        self._tell(key, ".zattrs", {"encoding-type": kind, "encoding-version": version, **attributes})

    def _tell(self, key: str, name: str, content: Mapping[str, Any]) -> None:
        self._told[f"{key}/{name}" if key else name] = content
        (self._root / key / name).write_text(json.dumps(content))
