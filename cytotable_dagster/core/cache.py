"""How a plate gets onto this machine: a local file is used where it lies, a remote one is downloaded once and kept.

The cache mirrors the store: `<cache>/<bucket>/<key>`, with a record of the version beside each file.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.cache_room import bytes_of, in_use, make_room, room_was_made
from cytotable_dagster.core.content import md5_of_list, size_and_stamp
from cytotable_dagster.core.digests import md5_of
from cytotable_dagster.core.errors import (
    DownloadError,
    OptionError,
    SourceFormatError,
    SourceNotFoundError,
)
from cytotable_dagster.core.files import whole_file
from cytotable_dagster.core.plate_files import is_csv, is_npz, plate_files
from cytotable_dagster.core.store import Remote, describe, errors_of, is_prefix, is_remote, objects_below, store
from cytotable_dagster.core.types import Plate, Source

if TYPE_CHECKING:
    from cloudpathlib import CloudPath

# The ETag of an object uploaded in one part is its MD5; of one in several parts it is not, and has a dash.
_MD5_ETAG = re.compile(r"[0-9a-f]{32}")
_ATTEMPTS = 3
# Files of one plate that are downloaded at once.
_DOWNLOADS = 8


@dataclass(frozen=True)
class _Record:
    """What is known of a cached file: its version in the store, and the state of the local copy."""

    etag: str
    size: int
    md5: str
    modified: int


def fetch(plate: Plate, cloud: Mapping[str, Any]) -> Source:
    """The plate as a file of this machine; a remote one is downloaded unless the cache has this version.

    A plate of CSV or NPZ files is a folder, and each of its files is kept by itself. Two processes that want the same
    plate download it once. A local file's MD5 is not computed here.

    Raises:
        SourceNotFoundError, SourceAccessError: the object is not there, or the store refuses.
        SourceFormatError: it is empty.
        DownloadError: it did not arrive whole.
    """
    if not is_remote(plate.uri):
        return _local_source(plate)
    check_local_cache_dir(cloud)
    with store(cloud, plate.uri) as client:
        path = client.CloudPath(plate.uri)
        if is_prefix(plate.uri):
            return _fetch_folder(plate, path, cloud)
        remote = describe(path)
        if not remote.size:
            raise SourceFormatError(f"{plate.uri}: the object is empty (0 bytes); upload it again")
        with _room_for([remote], plate.uri, cloud):
            local, record = _fetch_object(path, remote, cache_folder(cloud))
    return Source(
        plate=plate.name,
        uri=plate.uri,
        path=local,
        size=record.size,
        etag=record.etag,
        md5=record.md5,
        fingerprint=f"{record.etag}-{record.size}",
    )


@contextmanager
def kept(uri: str, cloud: Mapping[str, Any]) -> Iterator[None]:
    """While the block lasts, the cached copy of a plate is not removed to make room for another."""
    if not is_remote(uri):
        yield
        return
    check_local_cache_dir(cloud)
    with in_use(_cached(uri, cloud)):
        yield


def _cached(uri: str, cloud: Mapping[str, Any]) -> Path:
    """Where the copy of an object, or of the folder at a prefix, lies."""
    return cache_folder(cloud) / uri.split("://", 1)[1].rstrip("/")


@contextmanager
def _room_for(found: "Sequence[Remote]", uri: str, cloud: Mapping[str, Any]) -> Iterator[None]:
    """Room for what is about to be downloaded, where the cache has a limit."""
    limit, cache = cloud.get("cache_limit"), cache_folder(cloud)
    present = {remote.uri: _current_record(_cached(remote.uri, cloud), remote) for remote in found}
    need = sum(remote.size for remote in found if present[remote.uri] is None)
    if limit is None or not need:
        yield
        return
    with in_use(_cached(uri, cloud)):
        make_room(cache, _cached(uri, cloud), need, bytes_of(limit))
        try:
            yield
        finally:
            room_was_made(_cached(uri, cloud))


def _fetch_object(path: "CloudPath", remote: Remote, cache: Path) -> "tuple[Path, _Record]":
    from filelock import FileLock

    local = cache / path.drive / path.key  # type: ignore[attr-defined]
    local.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(local.with_name(f".{local.name}.lock")):
        return local, _current_record(local, remote) or _download(path, remote, local)


def _fetch_folder(plate: Plate, prefix: "CloudPath", cloud: Mapping[str, Any]) -> Source:
    """The CSV or NPZ files under a prefix, empty ones among them; what is no longer there is no longer here."""
    there = {remote.uri: remote for remote in objects_below(prefix)}
    found = [there[uri] for uri in plate_files(there)]
    if not found:
        raise SourceNotFoundError(f"{plate.uri}: no CSV or NPZ files are there; check the address")
    cache, folder = cache_folder(cloud), _cached(plate.uri, cloud)

    def fetch_one(remote: Remote) -> tuple[Path, _Record]:
        return _fetch_object(prefix.client.CloudPath(remote.uri), remote, cache)

    with _room_for(found, plate.uri, cloud), ThreadPoolExecutor(_DOWNLOADS) as pool:
        records = list(pool.map(fetch_one, found))
    here = {local for local, _ in records}
    for gone in [file for file in folder.rglob("*") if is_csv(file.name) or is_npz(file.name)]:
        if gone not in here:
            gone.unlink()
    files = [(local.relative_to(folder).as_posix(), record) for local, record in records]
    etags = hashlib.sha256("".join(f"{name} {record.etag}\n" for name, record in files).encode())
    return Source(
        plate=plate.name,
        uri=plate.uri,
        path=folder,
        size=sum(record.size for _, record in files),
        etag=etags.hexdigest()[:32],
        md5=md5_of_list((name, record.md5) for name, record in files),
        fingerprint=etags.hexdigest(),
    )


def cache_folder(cloud: Mapping[str, Any]) -> Path:
    """The cache: `local_cache_dir`, else this user's cache folder."""
    if cloud.get("local_cache_dir"):
        return Path(cloud["local_cache_dir"]).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("cytotable_dagster") / "plates"


def _local_source(plate: Plate) -> Source:
    path = Path(plate.uri).expanduser().absolute()
    if not path.exists():
        raise SourceNotFoundError(f"{plate.uri}: no such file or folder")
    size, stamp = size_and_stamp(path)
    return Source(plate=plate.name, uri=str(path), path=path, size=size, etag=None, md5=None, fingerprint=stamp)


def _current_record(local: Path, remote: Remote) -> _Record | None:
    """The record of a cached copy of this very version; None where it has to be downloaded."""
    try:
        record = _Record(**json.loads(_record_path(local).read_text()))
        facts = local.stat()
    except (OSError, ValueError, TypeError):
        return None
    if (record.etag, record.size) != (remote.etag, remote.size) or facts.st_size != remote.size:
        return None
    if facts.st_mtime_ns != record.modified and md5_of(local) != record.md5:
        return None
    return record


def _download(path: "CloudPath", remote: Remote, local: Path) -> _Record:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _download_once(path, remote, local)
        except DownloadError:
            if attempt == _ATTEMPTS:
                raise
            remote = describe(path)
    raise AssertionError("unreachable")


def _download_once(path: "CloudPath", remote: Remote, local: Path) -> _Record:
    for left_by_a_killed_process in local.parent.glob(f".{local.name}.*.tmp"):
        left_by_a_killed_process.unlink(missing_ok=True)
    with errors_of(remote.uri), whole_file(local) as temporary:
        path.download_to(temporary)
        size = temporary.stat().st_size
        if size != remote.size:
            raise DownloadError(f"{path}: {size} of {remote.size} bytes arrived; try again")
        md5 = md5_of(temporary)
        if _MD5_ETAG.fullmatch(remote.etag) and md5 != remote.etag:
            raise DownloadError(f"{path}: its MD5 is {md5}, the store says {remote.etag}; try again")
    record = _Record(remote.etag, remote.size, md5, local.stat().st_mtime_ns)
    with whole_file(_record_path(local)) as temporary:
        temporary.write_text(json.dumps(asdict(record)))
    return record


def _record_path(local: Path) -> Path:
    return local.with_name(f".{local.name}.json")


def check_local_cache_dir(cloud: Mapping[str, Any]) -> None:
    """Refuse a cache that is a file."""
    folder = cache_folder(cloud)
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"local_cache_dir {folder}: a file, where a folder is expected")
