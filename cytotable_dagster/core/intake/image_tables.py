"""What image tables of CSV exports say before anything is converted: of which plates they are."""

import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from cytotable_dagster.core.errors import SourceFormatError
from cytotable_dagster.core.model.presets import IMAGE, USUAL
from cytotable_dagster.core.sources.csv.names import named_tables
from cytotable_dagster.core.sources.csv.plates import PlatesSaid, plates_in_table
from cytotable_dagster.core.storage.client import begins, is_remote, store

# Of a table that is read: it has thousands of columns, and a line for each image.
_BYTES = 1 << 20
_READERS = 8
_GZIP = b"\x1f\x8b"


def plates_said(prefix: str, files: Sequence[str], cloud: Mapping[str, Any]) -> PlatesSaid:
    """For folders, the plates that their image tables name.

    Args:
        prefix: the folder, or prefix of a store, that the files' names are as of; it ends in `/`.
    """

    @cache
    def images_by_folder() -> Mapping[str, str]:
        # Names of files that are no export's, such as IN Carta's, may say anything.
        with suppress(SourceFormatError):
            named = named_tables(files, USUAL, prefix)
            return {folder: tables[IMAGE] for folder, tables in named.items() if IMAGE in tables}
        return {}

    def said(folders: Sequence[str]) -> Sequence[frozenset[str]]:
        images = [images_by_folder().get(folder) for folder in folders]
        with ThreadPoolExecutor(_READERS) as readers:
            starts = readers.map(lambda name: b"" if name is None else _start(f"{prefix}{name}", cloud), images)
            return [plates_in_table(start) for start in starts]

    return said


def _start(address: str, cloud: Mapping[str, Any]) -> bytes:
    """The beginning of a file, unpacked where it is packed."""
    if is_remote(address):
        with store(cloud, address) as client:
            data = begins(client, address, _BYTES)
    else:
        with Path(address).open("rb") as file:
            data = file.read(_BYTES)
    if not data.startswith(_GZIP):
        return data
    try:
        return zlib.decompressobj(wbits=31).decompress(data, _BYTES)
    except zlib.error:
        return b""
