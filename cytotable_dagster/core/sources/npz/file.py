"""One NPZ file of DeepProfiler: the features of one site's cells, where they are, and what is known of the site.

An NPZ file is a zip of NPY files: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. That of the
metadata is a pickled object, which `plain_pickle` reads without running anything.
"""

import errno
import io
import math
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cytotable_dagster.core.errors import SourceFormatError
from cytotable_dagster.core.shown import one_line
from cytotable_dagster.core.sources.npz.plain_pickle import NotPlain, Value, load_dict

if TYPE_CHECKING:
    import numpy as np

FEATURES, LOCATIONS, METADATA = "features", "locations", "metadata"
# What is taken of a file, whatever it says that it holds: cells, values of one array (ten thousand cells of 6,700
# features, 512 MB in memory), bytes of metadata and of an array's header.
MOST_CELLS, MOST_VALUES, _METADATA_BYTES, _HEADER_BYTES = 1 << 20, 1 << 26, 1 << 20, 1 << 14
# A deflated stream is no more than 1,032 times as long when it is unpacked: https://zlib.net/zlib_tech.html.
_MOST_DEFLATED = 1032
# Of what somebody else wrote, in a message.
_SHOWN = 200
_PARSING = threading.Lock()


@dataclass(frozen=True)
class Site:
    """What a file says of itself: its cells, how many features each has, and the site's metadata."""

    cells: int
    features: int
    metadata: dict[str, Value]


def read_site(path: Path) -> Site:
    """Shapes and metadata of a file, by the headers of its arrays.

    Raises:
        SourceFormatError: it is no whole NPZ file, lacks an array, or its arrays do not fit each other.
    """
    with _opened(path) as archive:
        features, locations = _shape(archive, path, FEATURES), _shape(archive, path, LOCATIONS)
        metadata = _metadata(archive, path)
    cells = features[0] if features else 0
    if cells and len(features) != 2:
        raise SourceFormatError(f"{path}: {FEATURES} has shape {features}, where (cells, features) is expected")
    if (locations[0] if locations else 0) != cells:
        raise SourceFormatError(f"{path}: {cells} cells in {FEATURES}, {locations[0]} in {LOCATIONS}; make it again")
    if cells and (len(locations) != 2 or locations[1] != 2):
        raise SourceFormatError(f"{path}: {LOCATIONS} has shape {locations}, where ({cells}, 2) is expected")
    return Site(cells, features[1] if cells else 0, metadata)


def read_cells(path: Path) -> "tuple[np.ndarray, np.ndarray]":
    """Features, shape (cells, features), and locations, shape (cells, 2), x before y; as float64.

    Raises:
        SourceFormatError: as `read_site`.
    """
    with _opened(path) as archive:
        return _reals(archive, path, FEATURES), _reals(archive, path, LOCATIONS)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; whatever is wrong with it as one line."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except SourceFormatError:
        raise
    # Each way of packing has errors of its own, and a damaged file brings forth more.
    except Exception as error:
        # What bz2 says has no number, and a place in the file that cannot be is damage; what else a disk says may pass.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        told = one_line(str(error), _SHOWN) or type(error).__name__
        raise SourceFormatError(f"{path}: not a whole NPZ file ({told}); make or fetch it again") from error


def _member(archive: zipfile.ZipFile, path: Path, name: str) -> IO[bytes]:
    try:
        return archive.open(f"{name}.npy")
    except KeyError:
        there = one_line(", ".join(entry.removesuffix(".npy") for entry in archive.namelist()), _SHOWN) or "nothing"
        raise SourceFormatError(f"{path}: no array {name}; DeepProfiler writes one (there: {there})") from None


def _reals(archive: zipfile.ZipFile, path: Path, name: str) -> "np.ndarray":
    import numpy as np

    with _member(archive, path, name) as file:
        shape, fortran, dtype = _header(file)
        values = np.frombuffer(file.read(), dtype)
    return values.reshape(shape, order="F" if fortran else "C").astype(np.float64)


def _header(file: IO[bytes]) -> "tuple[tuple[int, ...], bool, np.dtype]":
    """Shape, whether columns lie together, and type of an array."""
    from numpy.lib import format as npy

    read = {(1, 0): (npy.read_array_header_1_0, 2), (2, 0): (npy.read_array_header_2_0, 4)}
    version = npy.read_magic(file)
    if version not in read:
        raise ValueError(f"NPY version {version}")
    parse, width = read[version]
    length = file.read(width)
    size = int.from_bytes(length, "little")
    if size > _HEADER_BYTES:
        raise ValueError(f"a header of {size:,} bytes")
    header = io.BytesIO(length + file.read(size))
    # NumPy parses it with `ast`, which fails in Python 3.11 where two threads do: gh-106905.
    with _PARSING:
        try:
            return parse(header)
        # What is no header fails in many ways, for it is parsed as Python is.
        except Exception as error:
            raise ValueError(f"a header that is none: {error}") from error


def _shape(archive: zipfile.ZipFile, path: Path, name: str) -> tuple[int, ...]:
    """The shape of an array of numbers that is as long as it says."""
    with _member(archive, path, name) as file:
        shape, _, dtype = _header(file)
        start = file.tell()
    if dtype.kind not in "fiu":
        raise SourceFormatError(f"{path}: {name} holds {dtype}, where numbers are expected")
    entry = archive.getinfo(f"{name}.npy")
    if any(type(length) is not int or length < 0 for length in shape):
        raise SourceFormatError(f"{path}: {name} has shape {shape}, which no array has; make or fetch it again")
    values = math.prod(shape)
    if entry.file_size != start + values * dtype.itemsize:
        raise SourceFormatError(f"{path}: {name} is not as long as its shape {shape} says; make or fetch it again")
    if (shape and shape[0] > MOST_CELLS) or values > MOST_VALUES:
        raise SourceFormatError(
            f"{path}: {name} has shape {shape}, and one site may have {MOST_CELLS:,} cells and {MOST_VALUES:,} values; "
            "divide it into several files"
        )
    longest = entry.compress_size * (_MOST_DEFLATED if entry.compress_type == zipfile.ZIP_DEFLATED else 1)
    packed = entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if entry.compress_size > path.stat().st_size or (packed and entry.file_size > longest):
        raise SourceFormatError(f"{path}: {name} is too short for its shape {shape}; make or fetch it again")
    return shape


def _metadata(archive: zipfile.ZipFile, path: Path) -> dict[str, Value]:
    with _member(archive, path, METADATA) as file:
        _, _, dtype = _header(file)
        if dtype.kind != "O":
            raise SourceFormatError(f"{path}: {METADATA} holds {dtype}, where a pickled dict is expected")
        data = file.read(_METADATA_BYTES + 1)
    if len(data) > _METADATA_BYTES:
        raise SourceFormatError(f"{path}: {METADATA} of more than a megabyte; DeepProfiler writes none such")
    try:
        return load_dict(data)
    except NotPlain as error:
        told = one_line(str(error), _SHOWN)
        raise SourceFormatError(f"{path}: {METADATA} is refused: {told}; DeepProfiler writes none such") from error
