"""Where copies of what stores have are kept on this machine, as a value that is handed down from the doors.

The cache mirrors the store: `<cache>/<bucket>/<key>`.
"""

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cytotable_dagster.core.errors import CytoTableError, DownloadError, OptionError
from cytotable_dagster.core.storage.address import is_remote, place_of
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.support.files import inside
from cytotable_dagster.core.support.written_paths import expanded

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)B?\s*", re.IGNORECASE)

# What ails a folder that no other attempt will mend.
_LASTING = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOENT,
    errno.ELOOP,
}


def usual_folder() -> Path:
    """This user's cache folder."""
    from platformdirs import user_cache_path

    return user_cache_path("cytotable_dagster") / "plates"


@dataclass(frozen=True)
class Cache:
    """Copies of what a `store` has, in a `folder` that may hold `limit` bytes; None is no limit."""

    store: Store = field(default_factory=Store)
    folder: Path = field(default_factory=usual_folder)
    limit: int | None = None

    @classmethod
    def checked(cls, options: Mapping[str, Any] | None) -> "Cache":
        """A cache as a user describes it: by `local_cache_dir` and `cache_limit`, among options of the store's client.

        Raises:
            TypeError: an option that is not known.
            OptionError: one of these two means nothing.
        """
        options = options or {}
        store = Store.checked(options)
        named, limit = options.get("local_cache_dir"), options.get("cache_limit")
        return cls(
            store,
            Path(expanded(named)).absolute() if named else usual_folder(),
            None if limit is None else bytes_of(limit),
        )

    def path(self, uri: str) -> Path:
        """Where the copy of an object, or of the folder at a prefix, lies.

        Raises:
            UnsafeNameError: the key would lie elsewhere than in the cache.
            OptionError: the cache is a file, or the address none of a store.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise OptionError(f"local_cache_dir {self.folder}: a file, where a folder is expected")
        return _copy(self.folder, uri)


@contextmanager
def errors_of_disk(uri: str, cache: Cache) -> Iterator[None]:
    """Errors of the cache's disk, which say nothing of the plate."""
    try:
        yield
    except CytoTableError:
        raise
    except OSError as error:
        folder, reason = cache.folder, error.strerror or str(error)
        if error.errno in _LASTING:
            raise OptionError(f"local_cache_dir {folder}: cannot be written to ({reason}); name another one") from None
        raise DownloadError(f"{uri}: cannot be kept in {folder} ({reason}); make room there, or name another") from None


def check_address(uri: str) -> None:
    """Refuse an address whose copy could not lie in a cache.

    Raises:
        UnsafeNameError: its key would lie elsewhere.
    """
    if is_remote(uri):
        _copy(Path(), uri)


def bytes_of(text: str | int) -> int:
    """Bytes of `200GB`, `1.5 TB` or a number.

    Raises:
        OptionError: it is something else.
    """
    found = _SIZE.fullmatch(str(text))
    if found is None:
        raise OptionError(f"cache_limit {text!r}: write it as 200GB or 1.5TB")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def _copy(folder: Path, uri: str) -> Path:
    bucket, key = place_of(uri)
    place = inside(folder, bucket, uri)
    return inside(place, key if key.startswith("/") else key.rstrip("/"), uri) if key else place
