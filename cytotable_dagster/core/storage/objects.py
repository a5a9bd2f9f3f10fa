"""Objects of stores: what is said of them, and what can be done with them, whichever store it is.

A provider is a module of this room (see `address.PROVIDERS`) with `known_options()`, the names of the options that its
clients take, and `connect(address, options, ...)`, which makes a `Client`. Nothing else knows which one it is.
"""

import hashlib
import io
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from cytotable_dagster.core.errors import DestinationExistsError, DownloadError, SourceNotFoundError, UploadError
from cytotable_dagster.core.support.hidden import is_hidden
from cytotable_dagster.core.support.patience import within

T = TypeVar("T")

# The checksum that objects which we upload in parts get where the store gives them none, as metadata of this name.
OF_PARTS = "cytotable_md5_of_parts"
_MD5 = re.compile(r"[0-9a-f]{32}")
# What is asked of a store at once for one plate, and connections that are kept for it. A request costs boto3 two
# milliseconds of a core, so that 16 keep one busy where an answer takes 20; more of them are in each other's way.
REQUESTS_AT_ONCE = 16
# After every name: a folder's name with this is behind all that is in it.
LAST = "\U0010ffff"


@dataclass(frozen=True)
class Remote:
    """An object of a store: `size` in bytes, `etag` without quotes, `checksums` in base64 by their names (with `-N`
    behind where they are of the checksums of N parts); `encrypted` says that the ETag is no digest of the content, and
    `modified` when it was put there, by the store's clock."""

    uri: str
    size: int
    etag: str
    checksums: Mapping[str, str] = field(default_factory=dict)
    encrypted: bool = False
    modified: datetime | None = field(default=None, compare=False)

    @property
    def md5(self) -> str | None:
        """The MD5 of the content in hexadecimal, where the store tells it."""
        if said := self.checksums.get("MD5"):
            with suppress(ValueError):
                return b64decode(said, validate=True).hex()
        return self.etag if _MD5.fullmatch(self.etag) and not self.encrypted else None


@dataclass(frozen=True)
class Page:
    """Some of what is below a prefix, in the order of its names: objects, and addresses of folders, which end in `/`.
    More comes behind the key `after`; None at the end."""

    objects: tuple[Remote, ...]
    folders: tuple[str, ...]
    after: str | None


@dataclass(frozen=True)
class Body:
    """Content on its way: what the store says of its object, and the bytes that were asked for, in blocks."""

    said: Remote
    blocks: Iterator[bytes]


@dataclass(frozen=True)
class Begun:
    """An upload that was begun and not ended: of the parts that are there, by number from 1, bytes and MD5."""

    mark: str
    parts: Mapping[int, tuple[int, str]]


@dataclass(frozen=True)
class Patience:
    """How long a store is waited for: attempts of each call (None is what its settings say), and seconds for an answer
    in all, for one that sends a byte now and then would be waited for for ever."""

    attempts: int | None = None
    seconds: float = 60.0


class ConditionsUnknownError(UploadError):
    """The store may know no conditions on which objects are made."""


class Client(Protocol):
    """What is asked of a store. Every method names objects by whole addresses, ends within its patience, may be called
    by several threads, and raises what is about the address in one line:

    Raises:
        SourceNotFoundError, SourceAccessError: the object or bucket is not there, or the store refuses.
        SourceChangedError: the object is another one than was asked for.
        DownloadError, or with `writing` UploadError: the store fails or cannot be reached, which may pass.
    """

    patience: Patience

    @property
    def ahead(self) -> float:
        """Seconds that the store's clock is ahead of this machine's, as its last answer said."""

    def head(self, uri: str, *, writing: bool = False) -> Remote:
        """What is said of an object, without its content."""

    def pages(self, uri: str, *, after: str = "", flat: bool = False, writing: bool = False) -> Iterator[Page]:
        """What begins with an address: all objects, or with `flat` what lies in folders as those folders; only what
        comes behind the key `after`."""

    def read(
        self, uri: str, span: tuple[int, int] | None = None, *, etag: str | None = None, writing: bool = False
    ) -> AbstractContextManager[Body]:
        """The content of an object, or its bytes from the first up to the second of `span`; of this version, if any.
        It stays open while the block lasts, and is not waited for in all."""

    def small(self, remote: Remote) -> bytes | None:
        """The content of a small object, of this version, where the store has a way that costs less than `read`; None
        where it has not, or anything went wrong with it."""

    def part_sizes(self, remote: Remote, parts: int) -> list[int]:
        """Bytes of the first parts that an object was uploaded in; empty where the store does not tell."""

    def put(self, uri: str, content: io.BytesIO, *, only_if: str | None = None) -> str:
        """Make an object, and return its ETag; only if that of the object there is `only_if`, empty for none there.

        Raises:
            DestinationExistsError: that is not so.
            ConditionsUnknownError: the store cannot tell.
        """

    def begun(self, uri: str) -> Begun | None:
        """The latest upload of this object that was begun and not ended; None also where that is not told."""

    def begin(self, uri: str) -> str:
        """Begin to upload an object in parts; the mark of this upload."""

    def send(self, uri: str, mark: str, number: int, content: io.BytesIO) -> str:
        """Upload a part, the first being 1; what `complete` knows it by."""

    def complete(self, uri: str, mark: str, parts: Sequence[str], *, only_if_new: bool = False) -> None:
        """Make the object of the parts, in place of any that is there.

        Raises:
            DestinationExistsError: there is one, and `only_if_new`.
        """

    def abandon(self, uri: str, mark: str) -> None:
        """Remove the parts that were sent."""

    def copy(self, uri: str, other: str) -> None:
        """Let the store copy an object to another address."""

    def remove(self, uri: str) -> None:
        """Remove an object, if it is there."""

    def path(self, uri: str) -> Path:
        """A path of `cloudpathlib`'s, which has pathlib's methods and whose use as `os.PathLike` fetches the file."""

    def storage_options(self) -> dict[str, str]:
        """Endpoint and credentials, as they are at this moment, for a library that speaks to the store by itself: by
        the names of the object_store library, which Lance and others have."""


class Provider(Protocol):
    """A module that speaks to one kind of store."""

    def known_options(self) -> Collection[str]:
        """Names of the options that its clients take."""

    def connect(self, address: str, options: Mapping[str, Any], patience: Patience, *, writing: bool) -> Client:
        """A client for a bucket's addresses; no call is made.

        Raises:
            OptionError: an option that means nothing.
        """


def answered(request: Callable[[], T], address: str, seconds: float, *, writing: bool = False) -> T:
    """What a function gives that asks a store.

    Raises:
        DownloadError, or with `writing` UploadError: it takes longer.
    """
    try:
        return within(seconds, request)
    except TimeoutError as error:
        failed = UploadError if writing else DownloadError
        raise failed(f"{address}: the store gave {error}; check endpoint and network") from None


def content(
    client: Client,
    uri: str,
    span: tuple[int, int] | None = None,
    *,
    etag: str | None = None,
    most: int | None = None,
) -> bytes:
    """The bytes of an object, of a span of it, or the first `most` of them, which come within the client's patience."""

    def read() -> bytes:
        found = bytearray()
        with client.read(uri, span, etag=etag) as body:
            for block in body.blocks:
                found += block
                if most is not None and len(found) >= most:
                    break
        return bytes(found[:most])

    return answered(read, uri, client.patience.seconds)


def names_in(client: Client, uri: str) -> list[str]:
    """Addresses of the objects directly under a prefix, and of the folders there, which end in `/`, sorted; what is
    hidden (see `hidden`) is left out."""
    prefix = as_prefix(uri)
    pages = list(client.pages(prefix, flat=True))
    found = [*(o.uri for page in pages for o in page.objects), *(name for page in pages for name in page.folders)]
    return sorted(name for name in found if name != prefix and not is_hidden(name.removeprefix(prefix)))


def objects_below(client: Client, uri: str) -> list[Remote]:
    """Every object under a prefix that is not hidden, by address."""
    prefix = as_prefix(uri)
    return [o for page in client.pages(prefix) for o in page.objects if not is_hidden(o.uri.removeprefix(prefix))]


@contextmanager
def unless_ours(client: Client, uri: str, checksum: str, value: str, only_if_new: bool) -> Iterator[None]:
    """A condition that does not hold is an error; but a request that was repeated, as its first answer was lost, finds
    what it made itself."""
    try:
        yield
    except DestinationExistsError:
        if only_if_new:
            with suppress(SourceNotFoundError):  # it may have gone again
                if client.head(uri, writing=True).checksums.get(checksum) == value:
                    return
        raise


def md5_of_parts(parts: Sequence[str]) -> str:
    """The checksum of an object by its parts' MD5s, each in hexadecimal; see `Remote.checksums`."""
    digest = hashlib.md5(b"".join(map(bytes.fromhex, parts)), usedforsecurity=False).digest()
    return f"{b64encode(digest).decode()}-{len(parts)}"


def as_prefix(uri: str) -> str:
    """The address of a folder, which ends in one `/`."""
    return f"{uri.rstrip('/')}/"
