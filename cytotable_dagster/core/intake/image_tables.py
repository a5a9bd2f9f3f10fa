"""What image tables of CSV exports say before anything is converted: of which plates they are."""

import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

from cytotable_dagster.core.sources.plate_folders import PlatesSaid, image_tables, plates_in_table
from cytotable_dagster.core.storage.address import is_remote
from cytotable_dagster.core.storage.objects import content
from cytotable_dagster.core.storage.store import Store

# Of a table that is read: it has thousands of columns, and a line for each image.
_BYTES = 1 << 20
_READERS = 8
_GZIP = b"\x1f\x8b"


def plates_said(prefix: str, files: Sequence[str], store: Store) -> PlatesSaid:
    """For folders, the plates that their image tables name.

    Args:
        prefix: the folder, or prefix of a store, that the files' names are as of; it ends in `/`.
    """

    images_by_folder = cache(partial(image_tables, files))

    def said(folders: Sequence[str]) -> Sequence[frozenset[str]]:
        images = [images_by_folder().get(folder) for folder in folders]
        with ThreadPoolExecutor(_READERS) as readers:
            starts = readers.map(lambda name: b"" if name is None else _start(f"{prefix}{name}", store), images)
            return [plates_in_table(start) for start in starts]

    return said


def _start(address: str, store: Store) -> bytes:
    """The beginning of a file, unpacked where it is packed."""
    if is_remote(address):
        data = content(store.client(address), address, most=_BYTES)
    else:
        with Path(address).open("rb") as file:
            data = file.read(_BYTES)
    if not data.startswith(_GZIP):
        return data
    try:
        return zlib.decompressobj(wbits=31).decompress(data, _BYTES)
    except zlib.error:
        return b""
