"""Azure Blob Storage: containers, which stand where others have buckets, and block blobs.

https://learn.microsoft.com/rest/api/storageservices/; uploads in parts are in `az_blocks`.
"""

import hashlib
import inspect
import io
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cytotable_dagster.core.errors import CytoTableError, SourceNotFoundError, UploadError
from cytotable_dagster.core.storage import az_blocks
from cytotable_dagster.core.storage.address import bucket_of, place_of
from cytotable_dagster.core.storage.answers import Names, listed, senseless
from cytotable_dagster.core.storage.az_session import STORE, Session, only, session_of
from cytotable_dagster.core.storage.objects import (
    OF_PARTS,
    Begun,
    Body,
    Page,
    Patience,
    Remote,
    md5_of_parts,
    unless_ours,
)

if TYPE_CHECKING:
    from cloudpathlib import AzureBlobClient

T = TypeVar("T")

# Bytes that are asked for at once, as the client gives an answer when all of it is there.
_PAGE, _BLOCK = 1000, 1 << 20
# Seconds between looks at a copy that takes longer.
_COPY_POLL = 1.0


def known_options() -> list[str]:
    """Names of the options that a client takes."""
    from cloudpathlib import AzureBlobClient

    return [name for name in inspect.signature(AzureBlobClient.__init__).parameters if name != "self"]


def connect(address: str, options: Mapping[str, Any], patience: Patience, *, writing: bool) -> "Az":
    """A client; see `objects.Provider`."""
    return Az(session_of(address, options), patience)


class Az:
    """A client of Azure Blob Storage; see `objects.Client`."""

    def __init__(self, made: "AzureBlobClient", patience: Patience) -> None:
        self.patience = patience
        self._made = made

    @cached_property
    def _session(self) -> Session:
        return Session(self._made, self.patience)

    @property
    def ahead(self) -> float:
        return self._session.ahead

    def head(self, uri: str, *, writing: bool = False) -> Remote:
        return _remote(uri, self._session.call(uri, self._blob(uri).get_blob_properties, writing=writing))

    def pages(self, uri: str, *, after: str = "", flat: bool = False, writing: bool = False) -> Iterator[Page]:
        bucket, prefix = place_of(uri)
        container = self._session.container(bucket)
        found = container.walk_blobs if flat else container.list_blobs
        more: dict[str, Any] = {"delimiter": "/"} if flat else {}
        more |= {"name_starts_with": prefix, "results_per_page": _PAGE, "include": ["metadata"]}

        def page(token: str | None, **options: Any) -> tuple[list[Any], str | None]:
            pages = found(**more, **options).by_page(continuation_token=token)
            return list(next(pages, ())), pages.continuation_token or None

        def ask(token: str | None) -> Names:
            # The store begins at the beginning.
            while True:
                entries, following = self._session.call(uri, page, writing=writing, token=token)
                entries = [entry for entry in entries if not after or entry.name > after]
                if entries or following in (None, token):
                    return _names(uri, entries, following)
                token = following

        return listed(uri, prefix, after, ask, store=STORE, writing=writing)

    @contextmanager
    def read(
        self, uri: str, span: tuple[int, int] | None = None, *, etag: str | None = None, writing: bool = False
    ) -> Iterator[Body]:
        if span is None:
            said = self.head(uri, writing=writing)
            yield Body(said, self._blocks(uri, 0, said.size, etag or said.etag, writing))
        else:
            block, said = self._block(uri, *span, etag, writing)
            more = self._blocks(uri, span[0] + len(block), span[1], said.etag, writing)
            yield Body(said, chain([block], more))

    def _blocks(self, uri: str, at: int, end: int, etag: str, writing: bool) -> Iterator[bytes]:
        while at < end:
            block, _ = self._block(uri, at, end, etag, writing)
            at += len(block)
            yield block

    def _block(self, uri: str, at: int, end: int, etag: str | None, writing: bool) -> tuple[bytes, Remote]:
        """Some of what is between two places in a blob, and what is said of the blob."""
        length = min(_BLOCK, end - at)

        def download(**more: Any) -> tuple[bytes, Any]:
            found = self._blob(uri).download_blob(at, length, **more)
            return found.readall(), found.properties

        block, said = self._session.call(uri, download, writing=writing, **(only(etag) if etag else {}))
        size = str(said.content_range).rpartition("/")[2]
        if len(block) != length or not size.isdecimal():
            raise senseless(uri, f"bytes {at} to {at + length - 1} were asked for, and it sends others", store=STORE)
        said.size = int(size)
        return block, _remote(uri, said)

    def small(self, remote: Remote) -> bytes | None:
        return None

    def part_sizes(self, remote: Remote, parts: int) -> list[int]:
        answer = self._session.call(remote.uri, self._blob(remote.uri).get_block_list, block_list_type="committed")
        return [block.size for block in answer[0][:parts]]

    def put(self, uri: str, content: io.BytesIO, *, only_if: str | None = None) -> str:
        from azure.storage.blob import ContentSettings

        digest = _md5(content.getbuffer())
        with unless_ours(self, uri, "MD5", b64encode(digest).decode(), only_if == ""):
            answer = self._session.send(
                uri,
                self._blob(uri).upload_blob,
                content,
                conditional=only_if is not None,
                content_settings=ContentSettings(content_md5=bytearray(digest)),
                **({"overwrite": True} if only_if is None else only(only_if)),
            )
            return _etag(uri, answer)
        return self.head(uri, writing=True).etag

    def begun(self, uri: str) -> Begun | None:
        return az_blocks.begun(self._session, uri)

    def begin(self, uri: str) -> str:
        return az_blocks.MARK

    def send(self, uri: str, mark: str, number: int, content: io.BytesIO) -> str:
        return az_blocks.send(self._session, uri, number, content)

    def complete(self, uri: str, mark: str, parts: Sequence[str], *, only_if_new: bool = False) -> None:
        with unless_ours(self, uri, OF_PARTS, md5_of_parts(parts), only_if_new):
            az_blocks.commit(self._session, uri, parts, only_if_new=only_if_new)

    def abandon(self, uri: str, mark: str) -> None:
        """Nothing, as there is no way but to write the blob; the store forgets them."""

    def copy(self, uri: str, other: str) -> None:
        target = self._blob(other)
        source = self._session.signed(self._blob(uri).url)
        begun = self._session.call(other, target.start_copy_from_url, writing=True, source_url=source)
        try:
            if (status := self._copied(other, begun.get("copy_status"))) != "success":
                raise UploadError(f"{other}: the store could not copy {uri} there ({status}); try again")
        except CytoTableError:
            with suppress(CytoTableError):
                self._session.call(other, target.abort_copy, writing=True, copy_id=begun["copy_id"])
            with suppress(CytoTableError):  # what there is of it is no file
                self.remove(other)
            raise

    def _copied(self, other: str, status: str | None) -> str | None:
        """The status that a copy ends with, or the bytes that it stands still at."""
        done, last = None, time.monotonic()
        while status == "pending":
            time.sleep(_COPY_POLL)
            found = self._session.call(other, self._blob(other).get_blob_properties, writing=True).copy
            if found.progress != done:
                done, last = found.progress, time.monotonic()
            elif time.monotonic() - last > self.patience.seconds:
                return f"bytes {done}, and no more in {self.patience.seconds:.0f} s"
            status = found.status
        return status

    def remove(self, uri: str) -> None:
        with suppress(SourceNotFoundError):
            self._session.call(uri, self._blob(uri).delete_blob, writing=True, delete_snapshots="include")

    def path(self, uri: str) -> Path:
        return cast(Path, self._made.CloudPath(uri))

    def storage_options(self) -> dict[str, str]:
        return self._session.storage_options()

    def _blob(self, uri: str) -> Any:
        return self._session.blob(*place_of(uri))


def _etag(uri: str, answer: Mapping[str, Any]) -> str:
    if not answer.get("etag"):
        raise senseless(uri, "it has no ETag", writing=True, store=STORE)
    return str(answer["etag"]).strip('"')


def _remote(uri: str, said: Any) -> Remote:
    """An object, as the client describes a blob."""
    if not said.etag or not isinstance(said.size, int):
        raise senseless(uri, "it has no ETag or no size", store=STORE)
    settings = said.content_settings
    # Names come as headers, whose case is nothing that one may rely on.
    metadata = {name.lower(): value for name, value in (said.metadata or {}).items()}
    checksums = {OF_PARTS: metadata[OF_PARTS]} if OF_PARTS in metadata else {}
    if settings and settings.content_md5:
        checksums["MD5"] = b64encode(settings.content_md5).decode()
    return Remote(
        uri,
        said.size,
        said.etag.strip('"'),
        checksums,
        bool(said.encryption_key_sha256),
        said.last_modified,
    )


def _names(uri: str, entries: Sequence[Any], token: str | None) -> Names:
    from azure.storage.blob import BlobPrefix

    bucket = bucket_of(uri)
    return Names(
        [_remote(f"{bucket}{entry.name}", entry) for entry in entries if not isinstance(entry, BlobPrefix)],
        [f"{bucket}{entry.name}" for entry in entries if isinstance(entry, BlobPrefix)],
        token or None,
    )


def _md5(content: Any) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()
