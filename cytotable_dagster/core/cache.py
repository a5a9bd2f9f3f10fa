"""How a plate gets onto this machine: a local file is used where it lies, a remote one is downloaded once and kept.

The cache mirrors the store: `<cache>/<bucket>/<key>`, with a record of the version beside each file.
"""

import hashlib
import inspect
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import (
    DownloadError,
    OptionError,
    SourceAccessError,
    SourceFormatError,
    SourceNotFoundError,
)
from cytotable_dagster.core.files import whole_file
from cytotable_dagster.core.types import Plate, Source

if TYPE_CHECKING:
    from cloudpathlib import CloudPath
    from cloudpathlib.client import Client

_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# The ETag of an object uploaded in one part is its MD5; of one in several parts it is not, and has a dash.
_MD5_ETAG = re.compile(r"[0-9a-f]{32}")
_ATTEMPTS = 3
_BLOCK = 8 << 20


@dataclass(frozen=True)
class _Record:
    """What is known of a cached file: its version in the store, and the state of the local copy."""

    etag: str
    size: int
    md5: str
    modified: int


@dataclass(frozen=True)
class Remote:
    """An object of a store: `size` in bytes, `etag` without quotes."""

    uri: str
    size: int
    etag: str


def is_remote(address: str) -> bool:
    """Whether an address names an object in a store rather than a file of this machine."""
    return _REMOTE.match(address) is not None


def checked_cloud_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that the S3 client takes; `local_cache_dir` is among them.

    Raises:
        TypeError: an option that it does not know; the message names it.
    """
    if not options:
        return {}
    from cloudpathlib import S3Client

    known = [name for name in inspect.signature(S3Client.__init__).parameters if name != "self"]
    for name in options:
        if name not in known:
            raise TypeError(
                f"convert() got an unexpected keyword argument {name!r}; the cloud client takes: {', '.join(known)}"
            )
    return dict(options)


def fetch(plate: Plate, cloud: Mapping[str, Any]) -> Source:
    """The plate as a file of this machine; a remote one is downloaded unless the cache has this version.

    Two processes that want the same plate download it once. A local file's MD5 is not computed here.

    Raises:
        SourceNotFoundError, SourceAccessError: the object is not there, or the store refuses.
        SourceFormatError: it is empty.
        DownloadError: it did not arrive whole.
    """
    if not is_remote(plate.uri):
        return _local_source(plate)
    from filelock import FileLock

    check_local_cache_dir(cloud)
    with _store(cloud) as client:
        path = client.CloudPath(plate.uri)
        remote = _describe(path)
        if not remote.size:
            raise SourceFormatError(f"{plate.uri}: the object is empty (0 bytes); upload it again")
        local = cache_folder(cloud) / path.drive / path.key
        local.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(local.with_name(f".{local.name}.lock")):
            record = _current_record(local, remote) or _download(path, remote, local)
    return Source(
        plate=plate.name,
        uri=plate.uri,
        path=local,
        size=remote.size,
        etag=remote.etag,
        md5=record.md5,
        fingerprint=f"{remote.etag}-{remote.size}",
    )


def head(uri: str, cloud: Mapping[str, Any]) -> Remote:
    """Size and ETag of an object, without its content."""
    with _store(cloud) as client:
        return _describe(client.CloudPath(uri))


def list_remote(uri: str, cloud: Mapping[str, Any]) -> list[str]:
    """Addresses of the objects directly under a prefix, sorted."""
    with _store(cloud) as client:
        return sorted(str(path) for path in client.CloudPath(uri).iterdir())


def cache_folder(cloud: Mapping[str, Any]) -> Path:
    """The cache: `local_cache_dir`, else this user's cache folder."""
    if cloud.get("local_cache_dir"):
        return Path(cloud["local_cache_dir"]).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("cytotable_dagster") / "plates"


def md5_of(path: Path) -> str:
    """The MD5 of a file, in hexadecimal, as `md5sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def crc32_of(path: Path) -> int:
    """The CRC-32 of a file: what `add_tablenumber` tells plates apart by."""
    digest = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest = zlib.crc32(block, digest)
    return digest


def _local_source(plate: Plate) -> Source:
    path = Path(plate.uri).expanduser().absolute()
    if not path.exists():
        raise SourceNotFoundError(f"{plate.uri}: no such file")
    facts = path.stat()
    return Source(
        plate=plate.name,
        uri=str(path),
        path=path,
        size=facts.st_size,
        etag=None,
        md5=None,
        fingerprint=f"{facts.st_size}-{facts.st_mtime_ns}",
    )


@contextmanager
def _store(cloud: Mapping[str, Any]) -> "Iterator[Client]":
    """A client of the store; its errors come out as ours."""
    import botocore.exceptions as errors
    from cloudpathlib import S3Client
    from cloudpathlib.exceptions import CloudPathException

    try:
        yield S3Client(**{**cloud, "local_cache_dir": None})
    except errors.NoCredentialsError as error:
        raise SourceAccessError(
            "no credentials for the store were found; for public data pass no_sign_request=True"
        ) from error
    except errors.ClientError as error:
        raise _translated(error) from error
    except (errors.BotoCoreError, CloudPathException) as error:
        raise DownloadError(f"the store cannot be reached or used ({error}); check endpoint and network") from error


def _translated(error: Any) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    what = f"the store answered {code} to {error.operation_name}"
    if code in ("404", "NoSuchKey", "NoSuchBucket", "NotFound"):
        return SourceNotFoundError(f"{what}: no such bucket or object; check the address")
    if code in ("401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"):
        return SourceAccessError(f"{what}: access refused; check credentials, or no_sign_request=True for public data")
    return DownloadError(f"{what} ({error.response.get('Error', {}).get('Message', '')}); try again")


def _describe(path: Any) -> Remote:
    import botocore.exceptions as errors
    from cloudpathlib.exceptions import NoStatError

    try:
        return Remote(str(path), path.stat().st_size, path.etag.strip('"'))
    except errors.ClientError as error:
        found = _translated(error)
        raise type(found)(f"{path}: {found}") from error
    except NoStatError as error:
        raise SourceNotFoundError(f"{path}: no such bucket or object; check the address") from error
    except errors.NoCredentialsError as error:
        raise SourceAccessError(
            f"{path}: no credentials were found; for public data pass no_sign_request=True"
        ) from error


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
            remote = _describe(path)
    raise AssertionError("unreachable")


def _download_once(path: "CloudPath", remote: Remote, local: Path) -> _Record:
    for left_by_a_killed_process in local.parent.glob(f".{local.name}.*.tmp"):
        left_by_a_killed_process.unlink(missing_ok=True)
    with whole_file(local) as temporary:
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
