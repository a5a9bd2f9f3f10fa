"""A prefix of a store as a folder: its objects by their names below it."""

import io
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from cytotable_dagster.core.errors import SourceNotFoundError
from cytotable_dagster.core.storage.destination import Stored
from cytotable_dagster.core.storage.objects import Client, Remote, as_prefix
from cytotable_dagster.core.storage.ranges import Ranges
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.upload import IN_FLIGHT, Sender, Upload

if TYPE_CHECKING:
    import pyarrow as pa

# Bytes that are fetched where less is asked for: a footer of thousands of columns in a few requests.
_READ_BYTES = 1 << 20
_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class Prefix:
    """A prefix, such as `s3://bucket/prefix` without a slash at the end, and how its store is spoken to; see
    `Destination` for the methods. Its errors are those of `objects.Client`."""

    root: str
    store: Store

    def __reduce__(self) -> "tuple[type[Prefix], tuple[str, Store]]":
        return type(self), (self.root, self.store)

    def address(self, name: str = "") -> str:
        return f"{self.root}/{name}" if name else self.root

    def path(self, name: str) -> Path:
        return self.client.path(self.address(name))

    def exists(self, name: str) -> bool:
        return any(True for _ in self._there(name))

    def there(self, name: str) -> "list[str]":
        """A file of that name, or all files in a folder of it."""
        return sorted(self._there(name))

    def _there(self, name: str) -> Iterator[str]:
        address = self.address(name)
        for found in self._objects(address, writing=True):
            if found.uri == address or found.uri.startswith(f"{address}/"):
                yield name + found.uri.removeprefix(address)

    def find(self, name: str) -> Stored | None:
        with suppress(SourceNotFoundError):
            found = self.client.head(self.address(name))
            return Stored(name, found.size, found.etag)
        return None

    def list(self, below: str = "") -> "list[Stored]":
        cut = len(as_prefix(self.root))
        found = [Stored(o.uri[cut:], o.size, o.etag) for o in self._objects(as_prefix(self.address(below)))]
        hidden = [any(part.startswith(".") or not part for part in stored.name.split("/")) for stored in found]
        return sorted((s for s, hide in zip(found, hidden, strict=True) if not hide), key=lambda stored: stored.name)

    def open(self, name: str) -> "pa.NativeFile":
        import pyarrow as pa

        return pa.PythonFile(io.BufferedReader(Ranges(self.client, self.address(name)), _READ_BYTES), mode="r")

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

    def upload(self, name: str) -> Upload:
        """A file on its way; see `Upload`."""
        return Upload(self._sender, self.address(name))

    def write(self, name: str, content: bytes) -> None:
        """Put a small file there."""
        with self.create(name) as out:
            out.write(content)

    def copy(self, name: str, other: str) -> None:
        """Let the store copy a file under another name."""
        self.client.copy(self.address(name), self.address(other))

    def move(self, name: str, other: str) -> None:
        self.copy(name, other)
        self.remove(name)

    def remove(self, name: str) -> None:
        self.client.remove(self.address(name))

    def _objects(self, uri: str, *, writing: bool = False) -> Iterator[Remote]:
        """Objects whose addresses begin so."""
        for page in self.client.pages(uri, writing=writing):
            yield from page.objects

    @cached_property
    def client(self) -> Client:
        return self.store.client(self.root, writing=True)

    @cached_property
    def _sender(self) -> Sender:
        return Sender(self.client, ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="upload"))
