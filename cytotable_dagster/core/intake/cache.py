"""How a plate gets onto this machine: a local file is used where it lies, a remote one is downloaded once and kept.

What is known of each file of the cache is in records, see `cache_records`.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from cytotable_dagster.core.errors import (
    DamagedCopyError,
    DamagedSourceError,
    SourceFormatError,
    SourceNotFoundError,
)
from cytotable_dagster.core.intake.cache_place import Cache, errors_of_disk
from cytotable_dagster.core.intake.cache_records import Beside, OfFolder, Record
from cytotable_dagster.core.intake.cache_room import in_use, make_room, room_was_made
from cytotable_dagster.core.intake.cached_file import current_record, download_kept, dropped, left_of
from cytotable_dagster.core.intake.cached_files import download_all
from cytotable_dagster.core.model.types import Plate, Source
from cytotable_dagster.core.shown import human_bytes
from cytotable_dagster.core.sources.naming import is_experiment, plate_files
from cytotable_dagster.core.sources.state import look_at
from cytotable_dagster.core.storage.address import is_prefix, is_remote
from cytotable_dagster.core.storage.objects import Client, as_prefix, objects_below
from cytotable_dagster.core.storage.store import Clients
from cytotable_dagster.core.support.digests import MD5, digest_of_list
from cytotable_dagster.core.support.files import inside
from cytotable_dagster.core.support.leftovers import sweep
from cytotable_dagster.core.support.locks import Lock
from cytotable_dagster.core.support.telling import DOWNLOADING, Tally, remark
from cytotable_dagster.core.support.written_paths import expanded

P = ParamSpec("P")
T = TypeVar("T")


def fetch(plate: Plate, cache: Cache, experiment: bool = False, clients: Clients | None = None) -> Source:
    """The plate as a file of this machine; a remote one is downloaded unless the cache has this version.

    A plate of CSV or NPZ files is a folder, and each of its files is kept by itself. Two processes that want the same
    plate download it once. What is compared with the store, and what cannot be, see `verify`. A local file's
    digest is not computed here. Outside of `kept` the copy may go at any time.

    Args:
        experiment: whether facts of the experiment that lie beside a plate's tables are fetched, too.
        clients: of the cache's store, for who fetches several plates: making one takes longer than a small plate.

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
    path = cache.path(plate.uri)
    client = cache.store.client(plate.uri) if clients is None else clients.of(plate.uri)
    with errors_of_disk(plate.uri, cache):
        if is_prefix(plate.uri):
            return _fetch_folder(plate, path, cache, client, experiment)
        remote = client.head(plate.uri)
        if not remote.size:
            raise SourceFormatError(f"{plate.uri}: the object is empty (0 bytes); upload it again")
        beside = Beside()
        with _room_for(lambda: 0 if current_record(path, remote, beside) else remote.size, path, cache):
            record = current_record(path, remote, beside)
            if record is None:
                for left in path.parent.iterdir():
                    if left_of(left.name) == path.name:
                        left.unlink(missing_ok=True)
                record = download_kept(client, remote, path, Tally(DOWNLOADING, remote.size), beside)
                remark("downloaded %s, %s; %s", plate.uri, human_bytes(record.size), _verified(record.unverified))
            else:
                remark("%s is in the cache already, %s", plate.uri, human_bytes(record.size))
            state = look_at(path).state
    return Source(
        plate=plate.name,
        note=plate.note,
        uri=plate.uri,
        path=path,
        size=record.size,
        etag=record.etag,
        digest=f"{MD5}:{record.md5}",
        fingerprint=f"{record.etag}-{record.size}",
        unverified=record.unverified or "",
        state=state,
    )


@contextmanager
def kept(uri: str, cache: Cache) -> Iterator[None]:
    """While the block lasts, the cached copy of a plate is not removed to make room for another.

    Raises:
        DamagedCopyError: the block found the plate damaged, and it was the copy; that has gone, to be fetched anew.
    """
    if not is_remote(uri):
        yield
        return
    path = cache.path(uri)
    with errors_of_disk(uri, cache):
        using = in_use(path)
        using.__enter__()
    try:
        yield
    except (DamagedSourceError, SourceFormatError) as error:
        check_copy(uri, cache, error)
        raise
    finally:
        using.__exit__(None, None, None)


@contextmanager
def fetched(plate: Plate, cache: Cache, experiment: bool = False) -> Iterator[Source]:
    """The plate as a file of this machine, which stays while the block lasts; see `fetch` and `kept`."""
    # Fetched first, so that an address at which there is nothing leaves nothing in the cache.
    source = fetch(plate, cache, experiment)
    with kept(plate.uri, cache):
        yield source if source.path.exists() else fetch(plate, cache, experiment)


def with_fresh_copies(convert: Callable[P, T]) -> Callable[P, T]:
    """A function that is called once more where a copy of a plate was damaged, which it then fetches again."""

    @wraps(convert)
    def twice(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return convert(*arguments, **options)
        except DamagedCopyError:
            return convert(*arguments, **options)

    return twice


def check_copy(uri: str, cache: Cache, found: Exception) -> None:
    """Look at a plate's copy, after something was `found` wrong with it; one that need not be what the store has goes.

    That is one whose content changed after the download, or was never compared with the store's; the latter once.

    Raises:
        DamagedCopyError: it has gone.
    """
    if not is_remote(uri):
        return
    path = cache.path(uri)
    with errors_of_disk(uri, cache), _downloading(path):
        is_folder = path.is_dir()
        files = [file for file in path.rglob("*") if file.is_file()] if is_folder else [path]
        records = OfFolder(path) if is_folder else Beside()
        gone = [file for file in files if dropped(file, records)]
    if gone:
        raise DamagedCopyError(
            f"{uri}: its copy in {cache.folder} was damaged and is removed, to be fetched again ({found})"
        ) from found


@contextmanager
def _room_for(need: Callable[[], int], path: Path, cache: Cache) -> Iterator[None]:
    """Nobody else downloads this plate meanwhile, and there is room for what it needs where the cache has a limit."""
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


def _downloading(path: Path) -> Lock:
    """The lock of whoever changes a plate's copy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    return Lock(path.with_name(f".{path.name}.lock"))


def _fetch_folder(plate: Plate, folder: Path, cache: Cache, client: Client, experiment: bool) -> Source:
    """The CSV or NPZ files under a prefix, empty ones among them; what is no longer there is no longer here."""
    there = {remote.uri: remote for remote in objects_below(client, plate.uri)}
    found = [there[uri] for uri in plate_files(there)]
    found += [there[uri] for uri in there if experiment and is_experiment(uri)] if found else []
    if not found:
        raise SourceNotFoundError(f"{plate.uri}: no CSV or NPZ files are there; check the address")
    # As `cache.path` has them.
    begins = len(as_prefix(plate.uri))
    paths = {inside(folder, remote.uri[begins:].lstrip("/"), remote.uri): remote for remote in found}

    def current(records: OfFolder) -> dict[Path, Record]:
        return {local: record for local, remote in paths.items() if (record := current_record(local, remote, records))}

    def need() -> int:
        whole = len(current(OfFolder(folder))) == len(paths)
        return 0 if whole else sum(remote.size for remote in found)

    with _room_for(need, folder, cache):
        noted = OfFolder(folder)
        known = current(noted)
        new = {local: remote for local, remote in paths.items() if local not in known}
        came = download_all(client, new, folder, noted)
        records = {local: known.get(local) or came[local] for local in paths}
        for file in [Path(place, name) for place, _, names in os.walk(folder) for name in names]:
            if file not in records and (plate_files((file.name,)) or is_experiment(file.name) or left_of(file.name)):
                file.unlink()
        noted.tidy(records)
        state = look_at(folder).state
    files = [(local.relative_to(folder).as_posix(), record) for local, record in records.items()]
    etags = hashlib.sha256("".join(f"{name} {record.etag}\n" for name, record in files).encode())
    unverified = [f"{name}, {record.unverified}" for name, record in files if record.unverified]
    size = sum(record.size for _, record in files)
    why = f"{len(unverified)} of {len(files)} files, such as {unverified[0]}" if unverified else ""
    if new:
        remark(
            "downloaded %d of %d files of %s, %s; %s",
            len(new),
            len(files),
            plate.uri,
            human_bytes(size),
            _verified(why),
        )
    else:
        remark("%s is in the cache already, %d files, %s", plate.uri, len(files), human_bytes(size))
    return Source(
        plate=plate.name,
        note=plate.note,
        uri=plate.uri,
        path=folder,
        size=size,
        etag=etags.hexdigest()[:32],
        digest=digest_of_list(((name, record.md5) for name, record in files), MD5),
        fingerprint=etags.hexdigest(),
        unverified=why,
        state=state,
    )


def _verified(unverified: str | None) -> str:
    return f"not verified ({unverified})" if unverified else "verified"


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
        digest=None,
        fingerprint=look.stamp,
        state=look.state,
    )
