"""Google Cloud Storage, by its JSON API: https://cloud.google.com/storage/docs/json_api/v1.

The version of an object is its generation, which stands for the ETag. Of a file that goes up in parts each part is an
object, in a hidden folder beside the file, verified by its MD5 and named by number and MD5. The store composes them, 32
at a time, into the file, which has a CRC32C then and no MD5. (Its multipart uploads know no conditions.)
"""

import hashlib
import inspect
import io
import posixpath
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from cytotable_dagster.core.errors import CytoTableError, SourceNotFoundError
from cytotable_dagster.core.storage.address import bucket_of, place_of
from cytotable_dagster.core.storage.answers import Names, brief, listed, senseless
from cytotable_dagster.core.storage.gs_session import (
    STORE,
    Envelope,
    Session,
    errors_of,
    session_of,
    storage_options_of,
)
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
    from cloudpathlib import GSClient

# Below the folder that the object is in, and in it a folder of the object's name; parts are `<number>-<MD5>`.
PARTS = ".cytotable-parts"
_PAGE, _COMPOSED, _BLOCK, _REMOVED_AT_ONCE = 1000, 32, 256 << 10, 8
# Seconds for an answer where parts are put together, and bytes in a second of each part that goes up.
_COMPOSE_SECONDS, _LEAST_RATE = 300.0, 10_000
_FIELDS = "name,size,generation,md5Hash,crc32c,updated,customerEncryption,metadata"


def known_options() -> list[str]:
    """Names of the options that a client takes: those of cloudpathlib's, and the one for public data."""
    from cloudpathlib import GSClient

    return [name for name in inspect.signature(GSClient.__init__).parameters if name != "self"] + ["no_sign_request"]


def connect(address: str, options: Mapping[str, Any], patience: Patience, *, writing: bool) -> "Gs":
    """A client; see `objects.Provider`."""
    return Gs(session_of(address, options), options, patience)


class Gs:
    """A client of Google Cloud Storage; see `objects.Client`."""

    def __init__(self, made: "GSClient", options: Mapping[str, Any], patience: Patience) -> None:
        self.patience = patience
        self._made = made
        self._options = options

    @cached_property
    def _session(self) -> Session:
        return Session(self._made, self.patience)

    @property
    def ahead(self) -> float:
        return self._session.ahead

    def head(self, uri: str, *, writing: bool = False) -> Remote:
        return _remote(uri, self._session.json("GET", uri, _path(uri), params={"fields": _FIELDS}, writing=writing))

    def pages(self, uri: str, *, after: str = "", flat: bool = False, writing: bool = False) -> Iterator[Page]:
        bucket, prefix = place_of(uri)
        params = {"prefix": prefix, "maxResults": _PAGE, "fields": f"items({_FIELDS}),prefixes,nextPageToken"}
        params |= {**({"startOffset": after} if after else {}), **({"delimiter": "/"} if flat else {})}

        def ask(token: str | None) -> Names:
            more = {"pageToken": token} if token else {}
            path = f"/storage/v1/b/{quote(bucket, safe='')}/o"
            answer = self._session.json("GET", uri, path, params={**params, **more}, writing=writing)
            return _names(uri, answer, after)

        return listed(uri, prefix, after, ask, store=STORE, writing=writing)

    @contextmanager
    def read(
        self, uri: str, span: tuple[int, int] | None = None, *, etag: str | None = None, writing: bool = False
    ) -> Iterator[Body]:
        params = {"alt": "media", **({"ifGenerationMatch": etag} if etag else {})}
        # As it is stored: without this, what is kept compressed would come decompressed.
        headers = {"Accept-Encoding": "gzip", **({"Range": f"bytes={span[0]}-{span[1] - 1}"} if span else {})}
        path = f"/download{_path(uri)}"
        answer = self._session.call("GET", uri, path, params=params, headers=headers, stream=True, writing=writing)
        with answer:
            said = _said_of_content(uri, answer.headers, span)
            yield Body(said, _blocks(uri, answer.raw, span[1] - span[0] if span else said.size, writing))

    def small(self, remote: Remote) -> bytes | None:
        return None

    def part_sizes(self, remote: Remote, parts: int) -> list[int]:
        return []  # checksums are of the whole

    def put(self, uri: str, content: io.BytesIO, *, only_if: str | None = None) -> str:
        digest = _md5(content.getbuffer())
        with unless_ours(self, uri, "MD5", b64encode(digest).decode(), only_if == ""):
            return self._insert(uri, content, digest, {} if only_if is None else {"ifGenerationMatch": only_if or "0"})
        return self.head(uri, writing=True).etag

    def begun(self, uri: str) -> Begun | None:
        mark = _parts_of(uri)
        found: dict[int, tuple[int, str]] = {}
        with suppress(CytoTableError):
            for part in (part for page in self.pages(mark, writing=True) for part in page.objects):
                number, _, md5 = part.uri.removeprefix(mark).partition("-")
                if number.isdecimal():
                    found[int(number)] = part.size, md5
        return Begun(mark, found) if found else None

    def begin(self, uri: str) -> str:
        return _parts_of(uri)

    def send(self, uri: str, mark: str, number: int, content: io.BytesIO) -> str:
        digest = _md5(content.getbuffer())
        self._insert(_part(mark, number, digest.hex()), content, digest, {})
        return digest.hex()

    def complete(self, uri: str, mark: str, parts: Sequence[str], *, only_if_new: bool = False) -> None:
        names = [_part(mark, number, md5) for number, md5 in enumerate(parts, 1)]
        sent, level = set(names), 0
        while len(names) > _COMPOSED:
            level += 1
            groups = [names[at : at + _COMPOSED] for at in range(0, len(names), _COMPOSED)]
            names = [f"{mark}of-{level}-{number}" for number in range(len(groups))]
            sent |= set(names)
            for name, group in zip(names, groups, strict=True):
                self._compose(uri, name, group, {}, {})
        digest = md5_of_parts(parts)
        with unless_ours(self, uri, OF_PARTS, digest, only_if_new):
            condition = {"ifGenerationMatch": "0"} if only_if_new else {}
            self._compose(uri, uri, names, {"metadata": {OF_PARTS: digest}}, condition)
        # Whoever may write may still not be allowed to list, or to remove.
        with suppress(CytoTableError):
            self._remove_all(sent)
            self.abandon(uri, mark)

    def abandon(self, uri: str, mark: str) -> None:
        self._remove_all([part.uri for page in self.pages(mark, writing=True) for part in page.objects])

    def _remove_all(self, uris: Collection[str]) -> None:
        with ThreadPoolExecutor(_REMOVED_AT_ONCE) as pool:
            for _ in pool.map(self.remove, uris):
                pass

    def copy(self, uri: str, other: str) -> None:
        path = f"{_path(uri)}/rewriteTo{_path(other).removeprefix('/storage/v1')}"
        token: dict[str, str] = {}
        while True:
            # Between places and classes of storage it is copied a piece for each request.
            answer = self._session.json("POST", other, path, params=token, writing=True)
            if answer.get("done"):
                return
            if not answer.get("rewriteToken") or answer["rewriteToken"] == token.get("rewriteToken"):
                raise senseless(other, "it copies for ever", writing=True, store=STORE)
            token = {"rewriteToken": str(answer["rewriteToken"])}

    def remove(self, uri: str) -> None:
        with suppress(SourceNotFoundError):
            self._session.call("DELETE", uri, _path(uri), writing=True)

    def path(self, uri: str) -> Path:
        return cast(Path, self._made.CloudPath(uri))

    def storage_options(self) -> dict[str, str]:
        return storage_options_of(self._made, self._options)

    def _insert(self, uri: str, content: io.BytesIO, md5: bytes, condition: Mapping[str, str]) -> str:
        """Put an object, which is refused where it is not what was sent; its generation."""
        bucket, key = place_of(uri)
        body = Envelope(dumps({"md5Hash": b64encode(md5).decode()}).encode(), content.getbuffer())
        answer = self._session.json(
            "POST",
            uri,
            f"/upload/storage/v1/b/{quote(bucket, safe='')}/o",
            params={"uploadType": "multipart", "name": key, "fields": _FIELDS, **condition},
            headers={"Content-Type": f"multipart/related; boundary={body.boundary}"},
            data=body,
            seconds=self.patience.seconds + len(body) / _LEAST_RATE,
            writing=True,
        )
        return _remote(uri, answer, writing=True).etag

    def _compose(
        self, uri: str, target: str, parts: Sequence[str], facts: Mapping[str, Any], condition: Mapping[str, str]
    ) -> None:
        destination = {"contentType": "application/octet-stream", **facts}
        self._session.json(
            "POST",
            uri,
            f"{_path(target)}/compose",
            params=condition,
            json={"destination": destination, "sourceObjects": [{"name": place_of(part)[1]} for part in parts]},
            seconds=_COMPOSE_SECONDS,
            writing=True,
        )


def _path(uri: str) -> str:
    bucket, key = place_of(uri)
    return f"/storage/v1/b/{quote(bucket, safe='')}/o/{quote(key, safe='')}"


def _parts_of(uri: str) -> str:
    folder, name = posixpath.split(uri)
    return f"{folder}/{PARTS}/{name}/"


def _part(mark: str, number: int, md5: str) -> str:
    return f"{mark}{number:05}-{md5}"


def _remote(uri: str, answer: Mapping[str, Any], *, writing: bool = False) -> Remote:
    """An object, as the store describes it."""
    size, generation = answer.get("size"), answer.get("generation")
    if not str(size).isdecimal() or not str(generation).isdecimal():
        raise senseless(uri, "it has no generation or no size", writing=writing, store=STORE)
    checksums = {"MD5": answer.get("md5Hash"), "CRC32C": answer.get("crc32c")}
    checksums[OF_PARTS] = (answer.get("metadata") or {}).get(OF_PARTS)
    modified = None
    with suppress(ValueError, TypeError):
        modified = datetime.fromisoformat(str(answer.get("updated")))
    return Remote(
        uri,
        int(str(size)),
        str(generation),
        {name: str(value) for name, value in checksums.items() if value},
        bool(answer.get("customerEncryption")),
        modified,
    )


def _said_of_content(uri: str, headers: Mapping[str, str], span: tuple[int, int] | None) -> Remote:
    """What is said of an object together with its content."""
    if span:
        said, _, size = headers.get("content-range", "").partition("/")
        if said != f"bytes {span[0]}-{span[1] - 1}":
            raise senseless(uri, f"bytes {span[0]} to {span[1] - 1} were asked for, and it sends others", store=STORE)
    else:
        size = headers.get("content-length", "")
    hashes = dict(found.strip().partition("=")[::2] for found in headers.get("x-goog-hash", "").split(","))
    answer = {"size": size, "generation": headers.get("x-goog-generation")}
    return _remote(uri, {**answer, "md5Hash": hashes.get("md5"), "crc32c": hashes.get("crc32c")})


def _blocks(uri: str, stream: Any, size: int, writing: bool) -> Iterator[bytes]:
    with errors_of(uri, writing=writing):
        while size > 0 and (block := stream.read(min(_BLOCK, size), decode_content=False)):
            size -= len(block)
            yield block


def _names(uri: str, answer: Mapping[str, Any], after: str) -> Names:
    bucket = bucket_of(uri)
    for entry in answer.get("items", []):
        if "name" not in entry:
            raise senseless(uri, f"it lists {brief(entry)!r} in the wrong way", store=STORE)
    return Names(
        # The store begins with the name itself.
        [_remote(f"{bucket}{e['name']}", e) for e in answer.get("items", []) if not after or e["name"] > after],
        [f"{bucket}{folder}" for folder in answer.get("prefixes", [])],
        answer.get("nextPageToken"),
    )


def _md5(content: Any) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()
