"""How a plate gets onto this machine: a local file is used where it lies, a remote one is downloaded once and kept.

The cache mirrors the store: `<cache>/<bucket>/<key>`, with a record of the version beside each file.
"""

import errno
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from cytotable_dagster.core.errors import (
    CytoTableError,
    DamagedCopyError,
    DamagedSourceError,
    DownloadError,
    OptionError,
    SourceFormatError,
    SourceNotFoundError,
)
from cytotable_dagster.core.intake.cache_room import bytes_of, in_use, make_room, room_was_made
from cytotable_dagster.core.intake.cached_file import Record, current_record, download_kept, dropped
from cytotable_dagster.core.model.types import Plate, Source
from cytotable_dagster.core.sources.identity import md5_of_list
from cytotable_dagster.core.sources.naming import is_experiment, plate_files
from cytotable_dagster.core.sources.state import look_at
from cytotable_dagster.core.storage.client import (
    Remote,
    describe,
    is_prefix,
    is_remote,
    objects_below,
    place_of,
    store,
)
from cytotable_dagster.core.storage.download import RANGE_BYTES
from cytotable_dagster.core.support.files import inside
from cytotable_dagster.core.support.leftovers import sweep
from cytotable_dagster.core.support.written_paths import expanded

if TYPE_CHECKING:
    from cloudpathlib import S3Client
    from filelock import BaseFileLock

P = ParamSpec("P")
T = TypeVar("T")

# Files of one plate that are downloaded at once.
_DOWNLOADS = 8
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


@dataclass(frozen=True)
class _Cache:
    """Where one conversion's downloads go: the cache, and the client to the store."""

    folder: Path
    client: "S3Client"
    limit: int | None

    def path(self, uri: str) -> Path:
        return _cached(self.folder, uri)


def fetch(plate: Plate, cloud: Mapping[str, Any], experiment: bool = False) -> Source:
    """The plate as a file of this machine; a remote one is downloaded unless the cache has this version.

    A plate of CSV or NPZ files is a folder, and each of its files is kept by itself. Two processes that want the same
    plate download it once. What is compared with the store, and what cannot be, see `verify`. A local file's MD5 is
    not computed here. Outside of `kept` the copy may go at any time.

    Args:
        experiment: whether facts of the experiment that lie beside a plate's tables are fetched, too.

    Raises:
        SourceNotFoundError, SourceAccessError: the object is not there, or the store refuses.
        SourceFormatError: it is empty.
        SourceChangedError: it was replaced again and again meanwhile.
        DownloadError: it did not arrive whole, or finds no room.
        UnsafeNameError: its key would lie outside of the cache.
        OptionError: a cache that cannot be written to, or is smaller than the plate.
    """
    if not is_remote(plate.uri):
        return _local_source(plate)
    path = cached_path(plate.uri, cloud)
    limit = cloud.get("cache_limit")
    with store(cloud, plate.uri) as client, _errors_of_disk(plate.uri, cloud):
        cache = _Cache(cache_folder(cloud), client, None if limit is None else bytes_of(limit))
        if is_prefix(plate.uri):
            return _fetch_folder(plate, path, cache, experiment)
        remote = describe(client, plate.uri)
        if not remote.size:
            raise SourceFormatError(f"{plate.uri}: the object is empty (0 bytes); upload it again")
        with _room_for([remote], path, cache):
            record = current_record(path, remote) or download_kept(cache.client, remote, path)
            state = look_at(path).state
    return Source(
        plate=plate.name,
        note=plate.note,
        uri=plate.uri,
        path=path,
        size=record.size,
        etag=record.etag,
        md5=record.md5,
        fingerprint=f"{record.etag}-{record.size}",
        unverified=record.unverified or "",
        state=state,
    )


@contextmanager
def kept(uri: str, cloud: Mapping[str, Any]) -> Iterator[None]:
    """While the block lasts, the cached copy of a plate is not removed to make room for another.

    Raises:
        DamagedCopyError: the block found the plate damaged, and it was the copy; that has gone, to be fetched anew.
    """
    if not is_remote(uri):
        yield
        return
    path = cached_path(uri, cloud)
    with _errors_of_disk(uri, cloud):
        using = in_use(path)
        using.__enter__()
    try:
        yield
    except (DamagedSourceError, SourceFormatError) as error:
        check_copy(uri, cloud, error)
        raise
    finally:
        using.__exit__(None, None, None)


@contextmanager
def fetched(plate: Plate, cloud: Mapping[str, Any], experiment: bool = False) -> Iterator[Source]:
    """The plate as a file of this machine, which stays while the block lasts; see `fetch` and `kept`."""
    # Fetched first, so that an address at which there is nothing leaves nothing in the cache.
    source = fetch(plate, cloud, experiment)
    with kept(plate.uri, cloud):
        yield source if source.path.exists() else fetch(plate, cloud, experiment)


def with_fresh_copies(convert: Callable[P, T]) -> Callable[P, T]:
    """A function that is called once more where a copy of a plate was damaged, which it then fetches again."""

    @wraps(convert)
    def twice(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return convert(*arguments, **options)
        except DamagedCopyError:
            return convert(*arguments, **options)

    return twice


def check_copy(uri: str, cloud: Mapping[str, Any], found: Exception) -> None:
    """Look at a plate's copy, after something was `found` wrong with it; one that need not be what the store has goes.

    That is one whose content changed after the download, or was never compared with the store's; the latter once.

    Raises:
        DamagedCopyError: it has gone.
    """
    if not is_remote(uri):
        return
    path = cached_path(uri, cloud)
    with _errors_of_disk(uri, cloud), _downloading(path):
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        gone = [file for file in files if dropped(file)]
    if gone:
        raise DamagedCopyError(
            f"{uri}: its copy in {cache_folder(cloud)} was damaged and is removed, to be fetched again ({found})"
        ) from found


def cached_path(uri: str, cloud: Mapping[str, Any]) -> Path:
    """Where the copy of an object, or of the folder at a prefix, lies.

    Raises:
        UnsafeNameError: the key would lie elsewhere than in the cache.
        OptionError: the cache is a file, or the address none of S3.
    """
    folder = cache_folder(cloud)
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"local_cache_dir {folder}: a file, where a folder is expected")
    return _cached(folder, uri)


def check_address(uri: str) -> None:
    """Refuse an address whose copy could not lie in the cache.

    Raises:
        UnsafeNameError: its key would lie elsewhere.
    """
    if is_remote(uri):
        _cached(Path(), uri)


def _cached(folder: Path, uri: str) -> Path:
    bucket, key = place_of(uri)
    place = inside(folder, bucket, uri)
    return inside(place, key if key.startswith("/") else key.rstrip("/"), uri) if key else place


@contextmanager
def _errors_of_disk(uri: str, cloud: Mapping[str, Any]) -> Iterator[None]:
    """Errors of the cache's disk, which say nothing of the plate."""
    try:
        yield
    except CytoTableError:
        raise
    except OSError as error:
        folder = cache_folder(cloud)
        reason = error.strerror or str(error)
        if error.errno in _LASTING:
            raise OptionError(f"local_cache_dir {folder}: cannot be written to ({reason}); name another one") from None
        raise DownloadError(f"{uri}: cannot be kept in {folder} ({reason}); make room there, or name another") from None


@contextmanager
def _room_for(found: Sequence[Remote], path: Path, cache: _Cache) -> Iterator[None]:
    """Nobody else downloads this plate meanwhile, and there is room for it where the cache has a limit."""

    def need() -> int:
        whole = all(current_record(cache.path(remote.uri), remote) for remote in found)
        return 0 if whole else sum(remote.size for remote in found)

    lock = _downloading(path)

    def pause(seconds: float) -> None:
        # Whoever has room already may be waiting for this lock.
        lock.release()
        time.sleep(seconds)
        lock.acquire()

    with lock:
        if cache.limit is None:
            yield
            return
        with in_use(path):
            if make_room(cache.folder, path, need, cache.limit, pause=pause):
                try:
                    yield
                finally:
                    room_was_made(path)
            else:
                yield


def _downloading(path: Path) -> "BaseFileLock":
    """The lock of whoever changes a plate's copy."""
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    return FileLock(path.with_name(f".{path.name}.lock"))


def _fetch_folder(plate: Plate, folder: Path, cache: _Cache, experiment: bool) -> Source:
    """The CSV or NPZ files under a prefix, empty ones among them; what is no longer there is no longer here."""
    there = {remote.uri: remote for remote in objects_below(cache.client, plate.uri)}
    found = [there[uri] for uri in plate_files(there)]
    found += [there[uri] for uri in there if experiment and is_experiment(uri)] if found else []
    if not found:
        raise SourceNotFoundError(f"{plate.uri}: no CSV or NPZ files are there; check the address")
    paths = {cache.path(remote.uri): remote for remote in found}

    def fetch_one(local: Path) -> Record:
        remote = paths[local]
        local.parent.mkdir(parents=True, exist_ok=True)
        if record := current_record(local, remote):
            return record
        # What comes in one answer is described by it.
        described = describe(cache.client, remote.uri) if remote.size > RANGE_BYTES else remote
        return download_kept(cache.client, described, local)

    with _room_for(found, folder, cache):
        with ThreadPoolExecutor(_DOWNLOADS) as pool:
            try:
                records = dict(zip(paths, pool.map(fetch_one, paths), strict=True))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        for gone in [file for file in folder.rglob("*") if plate_files((file.name,)) or is_experiment(file.name)]:
            if gone not in records:
                gone.unlink()
        state = look_at(folder).state
    files = [(local.relative_to(folder).as_posix(), record) for local, record in records.items()]
    etags = hashlib.sha256("".join(f"{name} {record.etag}\n" for name, record in files).encode())
    unverified = [f"{name}, {record.unverified}" for name, record in files if record.unverified]
    return Source(
        plate=plate.name,
        note=plate.note,
        uri=plate.uri,
        path=folder,
        size=sum(record.size for _, record in files),
        etag=etags.hexdigest()[:32],
        md5=md5_of_list((name, record.md5) for name, record in files),
        fingerprint=etags.hexdigest(),
        unverified=f"{len(unverified)} of {len(files)} files, such as {unverified[0]}" if unverified else "",
        state=state,
    )


def cache_folder(cloud: Mapping[str, Any]) -> Path:
    """The cache: `local_cache_dir`, else this user's cache folder."""
    if cloud.get("local_cache_dir"):
        return Path(expanded(cloud["local_cache_dir"])).absolute()
    from platformdirs import user_cache_path

    return user_cache_path("cytotable_dagster") / "plates"


def _local_source(plate: Plate) -> Source:
    path = Path(expanded(plate.uri, to_read=True)).absolute()
    if not path.exists():
        raise SourceNotFoundError(f"{plate.uri}: no such file or folder")
    look = look_at(path)
    return Source(
        plate=plate.name,
        note=plate.note,
        uri=str(path),
        path=path,
        size=look.size,
        etag=None,
        md5=None,
        fingerprint=look.stamp,
        state=look.state,
    )
