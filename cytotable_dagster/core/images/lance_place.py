"""Where Lance datasets lie: a folder of this machine, or a prefix of a store, as the lance package is told of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cytotable_dagster.core.errors import (
    CytoTableError,
    DownloadError,
    OptionError,
    SourceAccessError,
    SourceNotFoundError,
    UploadError,
)
from cytotable_dagster.core.shown import one_line
from cytotable_dagster.core.storage.address import bucket_of, is_remote, place_of
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster.core.support.arguments import address_in
from cytotable_dagster.core.support.written_paths import expanded

# The folder of a dataset that says which files it is made of.
VERSIONS = "_versions"
# Its errors end with a line of its own source.
_ITS_SOURCE = ", /home/"
_REFUSED = ("privileges", "403 Forbidden", "401 Unauthorized")


def lance() -> Any:
    """The lance package.

    Raises:
        OptionError: it is not installed.
    """
    try:
        import lance
    except ImportError as error:
        raise OptionError("crops in Lance need its package: pip install 'cytotable-dagster[lance]'") from error
    return lance


def opened(path: str | Path, store: Store) -> Any:
    """A dataset to read.

    Raises:
        SourceNotFoundError: there is none.
        SourceAccessError, DownloadError: the store refuses, or fails.
    """
    address = expanded(address_in("path", path), to_read=True)
    absent = f"{address}: no Lance dataset of crops"
    if is_remote(address):
        if not destination_of(address, store).exists(VERSIONS):
            raise SourceNotFoundError(absent)
        with errors_of_lance(address):
            return lance().dataset(uri_of(address), storage_options=store.client(address).storage_options())
    try:
        return lance().dataset(address)
    except (ValueError, OSError) as error:
        raise SourceNotFoundError(absent) from error


def uri_of(address: str) -> str:
    """An address in a store as Lance reads it, which takes it for an encoded one."""
    return f"{bucket_of(address)}{quote(place_of(address)[1])}"


@contextmanager
def errors_of_lance(address: str, *, writing: bool = False) -> Iterator[None]:
    """What Lance raises as errors of ours.

    Raises:
        SourceAccessError: the store refuses.
        DownloadError, UploadError: the store, or the file system, fails; the other one with `writing`.
    """
    try:
        yield
    except CytoTableError:
        raise
    except (ValueError, OSError, RuntimeError) as error:
        said = one_line(str(error).partition(_ITS_SOURCE)[0], 300)
        if any(word in str(error) for word in _REFUSED):
            raise SourceAccessError(f"{address}: access refused; check credentials (Lance says {said})") from error
        raise (UploadError if writing else DownloadError)(f"{address}: Lance says {said}; try again") from error
