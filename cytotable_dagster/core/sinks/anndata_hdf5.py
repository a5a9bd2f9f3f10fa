"""AnnData as groups of an HDF5 file: as `anndata` writes them, but for X, which is written in blocks of rows as they
come.
"""

import os
import re
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.sinks.anndata_parts import Frame, as_index
from cytotable_dagster.core.sinks.matrix import Matrix
from cytotable_dagster.core.support.cores import cores

if TYPE_CHECKING:
    import numpy as np

# What tells readers what X is.
_ARRAY = {"encoding-type": "array", "encoding-version": "0.2.0"}
# Bytes. Who reads few cells decodes little.
_CHUNK = 1 << 20
_ERRNO = re.compile(r"errno = (\d+)")
# Of what cannot be compressed much, more effort takes twice the time for a hundredth of the size.
_LEVEL = 1


@contextmanager
def hdf5_file(path: Path) -> "Iterator[Hdf5File]":
    """A new file.

    Raises:
        OSError: it cannot be written, for which HDF5 has errors of several kinds.
    """
    import h5py

    try:
        # Before version 1.8 HDF5 kept no attribute of over 64 kB, as the names of 4,100 columns are.
        with h5py.File(path, "w", libver=("v108", "latest")) as root:
            root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
            yield Hdf5File(root)
    except (OSError, RuntimeError) as error:
        number = _ERRNO.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


@dataclass(frozen=True)
class Hdf5File:
    """Elements of AnnData below the root group of a file, each under a key with `/` between groups."""

    root: Any

    def put(self, key: str, value: Any) -> None:
        """An element, and those in it."""
        from anndata.io import write_elem
        from pandas import DataFrame

        if isinstance(value, Frame):
            write_elem(self.root, key, DataFrame(index=as_index(value.index)))
            self.root[key].attrs["column-order"] = value.columns
            return
        group, _, name = key.rpartition("/")
        write_elem(self.root[group] if group else self.root, name, value)

    def put_x(self, matrix: Matrix) -> None:
        """X, shuffled and deflated here, in threads, for HDF5 does it in one and holds a lock meanwhile."""
        rows, (_, width) = matrix.rows_in(_CHUNK), matrix.shape
        options = {"chunks": (rows, width), "compression": "gzip", "compression_opts": _LEVEL, "shuffle": True}
        x = self.root.create_dataset("X", matrix.shape, matrix.dtype, maxshape=(None, width), **options)
        x.attrs.update(_ARRAY)
        with ThreadPoolExecutor(cores()) as threads:
            for start, block in matrix.blocks(rows):
                firsts = range(0, block.shape[1], rows)
                chunks = threads.map(lambda first, block=block: _deflated(block[:, first : first + rows], rows), firsts)
                for first, chunk in zip(firsts, chunks, strict=True):
                    x.id.write_direct_chunk((start + first, 0), chunk)


def _deflated(columns: "np.ndarray", rows: int) -> bytes:
    """A chunk of so many rows as HDF5's filters make it."""
    import numpy as np

    width, count = columns.shape
    chunk = np.zeros((rows, width), columns.dtype)
    chunk[:count] = columns.T
    shuffled = np.ascontiguousarray(chunk.view(np.uint8).reshape(-1, chunk.itemsize).T)
    return zlib.compress(shuffled.data, _LEVEL)
