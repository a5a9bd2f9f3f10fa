"""A prefix of a store as a place for results; see `destination`."""

import io
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from cytotable_dagster.core.errors import DestinationInUseError, OptionError, SourceNotFoundError
from cytotable_dagster.core.storage.client import (
    answer_of,
    call,
    check_store,
    client_of,
    is_remote,
    pages_of,
    remote_of,
)
from cytotable_dagster.core.storage.destination import Claim, Destination, LocalDestination, Results, Stored
from cytotable_dagster.core.storage.store_errors import errors_of
from cytotable_dagster.core.storage.store_lock import StoreLock, held
from cytotable_dagster.core.storage.store_publication import HIDDEN, StoreResults, hidden, undo
from cytotable_dagster.core.storage.upload import IN_FLIGHT, Bucket, Upload
from cytotable_dagster.core.support.leftovers import sweep_temporary, temporary_folder
from cytotable_dagster.core.support.written_paths import expanded

if TYPE_CHECKING:
    import pyarrow as pa
    from _typeshed import WriteableBuffer
    from cloudpathlib import S3Client

_SCHEME = "s3://"
# Bytes that are fetched where less is asked for: a footer of thousands of columns in a few requests.
_READ_BYTES = 1 << 20
_COPY_BYTES = 1 << 20


def destination_of(address: str | Path, cloud: Mapping[str, Any]) -> Destination:
    """The folder or prefix of a store at an address.

    Args:
        address: a path, or `s3://bucket/prefix`.
        cloud: what the S3 client takes, see `store.checked_cloud_options`.

    Raises:
        OptionError: another store's address, one without a bucket, or a variable in it that is not set.
    """
    root = expanded(address)
    if not is_remote(root):
        return LocalDestination(Path(root).absolute())
    check_store(root)
    if not root.startswith(_SCHEME) or not root.removeprefix(_SCHEME).strip("/"):
        raise OptionError(f"{address}: results go to files of this machine or to s3://bucket/prefix")
    return StoreDestination(root.rstrip("/"), dict(cloud))


@dataclass(frozen=True)
class StoreDestination(Destination):
    """A prefix, `s3://bucket/prefix` without a slash at the end, and the options of its client.

    Errors of the store are `SourceNotFoundError` (no such bucket or object), `SourceAccessError` (it refuses) and
    `UploadError` or `DownloadError` (it fails or is away, which may pass).
    """

    root: str
    cloud: Mapping[str, Any] = field(repr=False)

    def __reduce__(self) -> "tuple[type[StoreDestination], tuple[str, Mapping[str, Any]]]":
        return StoreDestination, (self.root, self.cloud)

    def address(self, name: str = "") -> str:
        return f"{self.root}/{name}" if name else self.root

    def path(self, name: str) -> Path:
        return cast(Path, self._client.CloudPath(self.address(name)))

    def exists(self, name: str) -> bool:
        return any(True for _ in self._there(name))

    def there(self, name: str) -> "list[str]":
        """A file of that name, or all files in a folder of it."""
        return sorted(self._there(name))

    def _there(self, name: str) -> Iterator[str]:
        key = self._key(name)
        for entry in self._entries(key, name, writing=True):
            if entry["Key"] == key or entry["Key"].startswith(f"{key}/"):
                yield name + entry["Key"].removeprefix(key)

    def hidden_names(self, below: str) -> "list[str]":
        """Hidden files below a folder."""
        return [name for name in self.there(below) if name != below]

    def find(self, name: str) -> Stored | None:
        address = self.address(name)
        with suppress(SourceNotFoundError):
            answer = call(self._bucket.client, "head_object", address, Bucket=self._bucket.name, Key=self._key(name))
            found = remote_of(address, answer, answer.get("ContentLength"))
            return Stored(name, found.size, found.etag)
        return None

    def list(self, below: str = "") -> list[Stored]:
        prefix = f"{self._key(below)}/".lstrip("/")
        cut = len(f"{self._key('')}/".lstrip("/"))
        found = [
            Stored(entry["Key"][cut:], entry["Size"], entry["ETag"].strip('"'))
            for entry in self._entries(prefix, below)
        ]
        hidden = [any(part.startswith(".") or not part for part in stored.name.split("/")) for stored in found]
        return sorted((s for s, hide in zip(found, hidden, strict=True) if not hide), key=lambda stored: stored.name)

    def open(self, name: str) -> "pa.NativeFile":
        import pyarrow as pa

        ranges = _Ranges(self._bucket, self._key(name))
        return pa.PythonFile(io.BufferedReader(ranges, _READ_BYTES), mode="r")

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        with self._created(name) as out:
            yield out

    @contextmanager
    def _created(self, name: str, only_if_new: bool = False) -> Iterator[BinaryIO]:
        upload = self.upload(name)
        try:
            yield cast(BinaryIO, upload)
            upload.publish(only_if_new=only_if_new)
        except BaseException:
            upload.abort()
            raise

    def put(self, path: Path, name: str, *, only_if_new: bool = False) -> None:
        with path.open("rb") as file, self._created(name, only_if_new) as out:
            shutil.copyfileobj(file, out, _COPY_BYTES)

    @contextmanager
    def writing(self, name: str = "", wait: float | None = None, *, file_by_file: bool = False) -> Iterator[Claim]:
        lock = StoreLock(self._bucket, self._key(f"{hidden(name)}/writing"), self.address(name))
        sweep_temporary()
        with held(lock, wait):
            undo(self, hidden(name))
            yield Claim(name, lock.check, lock.conditional)

    @contextmanager
    def together(self, scratch: Path, claim: Claim, *, overwrite: bool) -> Iterator[Results]:
        results = StoreResults(self, claim)
        try:
            yield results
            results.publish(overwrite=overwrite)
        except BaseException:
            results.abort()
            raise

    def sweep(self) -> None:
        if self.there(HIDDEN):
            with suppress(DestinationInUseError), self.writing(wait=-1):
                pass

    def scratch(self) -> AbstractContextManager[Path]:
        return temporary_folder("results")

    def upload(self, name: str) -> Upload:
        """A file on its way; see `Upload`."""
        return Upload(self._bucket, self._key(name))

    def write(self, name: str, content: bytes) -> None:
        """Put a small file there."""
        with self.create(name) as out:
            out.write(content)

    def copy(self, name: str, other: str) -> None:
        """Let the store copy a file under another name."""
        source = {"Bucket": self._bucket.name, "Key": self._key(name)}
        with errors_of(self.address(other), writing=True):
            self._bucket.client.copy(source, self._bucket.name, self._key(other), ExtraArgs=dict(self._bucket.extra))

    def move(self, name: str, other: str) -> None:
        self.copy(name, other)
        self.remove(name)

    def remove(self, name: str) -> None:
        bucket, key = self._bucket, self._key(name)
        call(bucket.client, "delete_object", self.address(name), writing=True, Bucket=bucket.name, Key=key)

    def _entries(self, prefix: str, name: str, *, writing: bool = False) -> "Iterator[dict[str, Any]]":
        """Objects whose keys begin with `prefix`; errors name `name`."""
        for page in pages_of(self._bucket.client, self.address(name), prefix, self._bucket.name, writing=writing):
            yield from page.get("Contents", [])

    def _key(self, name: str) -> str:
        return self.address(name).removeprefix(_SCHEME).partition("/")[2]

    @cached_property
    def _client(self) -> "S3Client":
        with errors_of(self.root, writing=True):
            return client_of(self.cloud)

    @cached_property
    def _bucket(self) -> Bucket:
        from botocore.config import Config

        made = self._client
        with errors_of(self.root, writing=True):
            # Checksums that go with the content are not understood by every store; MD5 sums are.
            plain = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")
            client = made.sess.client(
                "s3",
                endpoint_url=self.cloud.get("endpoint_url") or os.environ.get("AWS_ENDPOINT_URL"),
                config=made.client.meta.config.merge(plain),
            )
        name = self.root.removeprefix(_SCHEME).partition("/")[0]
        threads = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="upload")
        return Bucket(name, client, made.boto3_ul_extra_args, threads)


class _Ranges(io.RawIOBase):
    """One version of an object, read from anywhere in it; an error where it is replaced meanwhile."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._address = f"{_SCHEME}{bucket.name}/{key}"
        answer = call(bucket.client, "head_object", self._address, Bucket=bucket.name, Key=key)
        found = remote_of(self._address, answer, answer.get("ContentLength"))
        self._size, self._etag = found.size, found.etag
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence] + offset
        return self._at

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        room = memoryview(buffer).cast("B")
        count = min(len(room), self._size - self._at)
        if count <= 0:
            return 0
        span = f"bytes={self._at}-{self._at + count - 1}"
        place = {"Bucket": self._bucket.name, "Key": self._key}

        def content_of_span() -> bytes:
            answer = self._bucket.client.get_object(**place, Range=span, IfMatch=f'"{self._etag}"')
            return bytes(answer["Body"].read(count))

        content = answer_of(content_of_span, self._address)
        room[: len(content)] = content
        self._at += len(content)
        return len(content)
