"""S3, and stores that understand the same requests.

https://docs.aws.amazon.com/AmazonS3/latest/API/; of uploads only what other stores understand too: MD5 sums go with
the parts, no checksums of later years.
"""

import hashlib
import inspect
import io
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cytotable_dagster.core.errors import CytoTableError, DestinationExistsError, SourceNotFoundError
from cytotable_dagster.core.storage.address import bucket_of, place_of
from cytotable_dagster.core.storage.answers import Names, brief, listed, senseless
from cytotable_dagster.core.storage.objects import Begun, Body, Page, Patience, Remote, answered
from cytotable_dagster.core.storage.s3_errors import errors_of
from cytotable_dagster.core.storage.s3_session import session_of, storage_options_of
from cytotable_dagster.core.storage.s3_small import Small

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from cloudpathlib import S3Client

# An ETag is no digest of the content where the store encrypts with a key that is not its own.
_PLAIN = (None, "", "AES256")
_CHECKSUMS = ("SHA256", "SHA1", "CRC32", "CRC32C", "CRC64NVME")
# Pages of uploads under way.
_MOST_UPLOADS = 1000
_BLOCK = 256 << 10
# Seconds for an answer where thousands of parts are put together, and bytes in a second of each part that goes up.
_COMPLETE_SECONDS, _LEAST_RATE = 300.0, 10_000


def known_options() -> list[str]:
    """Names of the options that a client takes."""
    from cloudpathlib import S3Client

    return [name for name in inspect.signature(S3Client.__init__).parameters if name != "self"]


def connect(address: str, options: Mapping[str, Any], patience: Patience, *, writing: bool) -> "S3":
    """A client; see `objects.Provider`."""
    with errors_of(address, writing=writing):
        return S3(session_of(options, patience.attempts), options, patience)


class S3:
    """A client of S3; see `objects.Client`."""

    def __init__(self, session: "S3Client", options: Mapping[str, Any], patience: Patience) -> None:
        self.patience = patience
        self.ahead = 0.0
        self._session = session
        self._options = options
        self._api = session.client
        self._get_extra = session.boto3_dl_extra_args
        self._put_extra = session.boto3_ul_extra_args
        # What requests are told beside, and a session of the user's own, that way knows nothing of.
        known = not self._get_extra and not {"botocore_session", "boto3_session"} & options.keys()
        self._small = Small(self._api.meta.endpoint_url, self.storage_options, self._region) if known else None

    def head(self, uri: str, *, writing: bool = False) -> Remote:
        answer = self._call("head_object", uri, writing=writing, ChecksumMode="ENABLED", **self._get_extra)
        return _remote(uri, answer, answer.get("ContentLength"))

    def pages(self, uri: str, *, after: str = "", flat: bool = False, writing: bool = False) -> Iterator[Page]:
        bucket, prefix = place_of(uri)
        arguments = {"Bucket": bucket, "Prefix": prefix, **self._session.boto3_list_extra_args}
        arguments |= {**({"StartAfter": after} if after else {}), **({"Delimiter": "/"} if flat else {})}

        def ask(token: str | None) -> Names:
            more: dict[str, Any] = {"ContinuationToken": token} if token else {}
            return _names(uri, self._answer("list_objects_v2", uri, writing=writing, **arguments, **more))

        return listed(uri, prefix, after, ask, store="S3", writing=writing)

    @contextmanager
    def read(
        self, uri: str, span: tuple[int, int] | None = None, *, etag: str | None = None, writing: bool = False
    ) -> Iterator[Body]:
        # No range is asked for where all is wanted: an empty object has none.
        wanted: dict[str, Any] = {"Range": f"bytes={span[0]}-{span[1] - 1}"} if span else {"ChecksumMode": "ENABLED"}
        wanted |= {"IfMatch": f'"{etag}"'} if etag else {}
        answer = self._call("get_object", uri, writing=writing, **wanted, **self._get_extra)
        stream = answer["Body"]
        try:
            with errors_of(uri, writing=writing):
                said = _remote(uri, answer, _whole_size(uri, answer, span) if span else answer.get("ContentLength"))
                yield Body(said, _blocks(stream, span[1] - span[0] if span else said.size))
        finally:
            stream.close()

    def small(self, remote: Remote) -> bytes | None:
        return self._small.content(remote) if self._small else None

    def part_sizes(self, remote: Remote, parts: int) -> list[int]:
        found: list[int] = []
        for number in range(1, parts + 1):
            try:
                answer = self._call("head_object", remote.uri, PartNumber=number, **self._get_extra)
            except CytoTableError:
                return []
            if not answer.get("PartsCount"):
                return []
            found.append(int(answer["ContentLength"]))
        return found

    def put(self, uri: str, content: io.BytesIO, *, only_if: str | None = None) -> str:
        digest = _md5(content.getbuffer())
        condition = {} if only_if is None else {"IfMatch": f'"{only_if}"'} if only_if else {"IfNoneMatch": "*"}
        with self._unless_ours(uri, digest.hex()) if only_if == "" else nullcontext():
            answer = self._send("put_object", uri, content, digest, **condition, **self._put_extra)
            return str(answer.get("ETag") or "").strip('"')
        return digest.hex()

    def begun(self, uri: str) -> Begun | None:
        """Whoever may write may still not be allowed to list, and some stores cannot: then there is none."""
        bucket, key = place_of(uri)
        with suppress(CytoTableError), errors_of(uri, writing=True):
            pages = self._api.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=key)
            uploads = (entry for page in islice(pages, _MOST_UPLOADS) for entry in page.get("Uploads", []))
            latest = max((entry for entry in uploads if entry["Key"] == key), key=_initiated, default=None)
            if latest is None:
                return None
            mark = str(latest["UploadId"])
            listed = self._api.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=mark)
            parts = (entry for page in listed for entry in page.get("Parts", []))
            return Begun(mark, {part["PartNumber"]: (part["Size"], part["ETag"].strip('"')) for part in parts})
        return None

    def begin(self, uri: str) -> str:
        answer = self._call("create_multipart_upload", uri, writing=True, **self._put_extra)
        return _said(answer, "UploadId", uri)

    def send(self, uri: str, mark: str, number: int, content: io.BytesIO) -> str:
        digest = _md5(content.getbuffer())
        answer = self._send("upload_part", uri, content, digest, UploadId=mark, PartNumber=number)
        return _said(answer, "ETag", uri).strip('"')

    def complete(self, uri: str, mark: str, parts: Sequence[str], *, only_if_new: bool = False) -> None:
        listed = [{"PartNumber": number, "ETag": f'"{etag}"'} for number, etag in enumerate(parts, 1)]
        digests = b"".join(bytes.fromhex(etag.zfill(32)[:32]) for etag in parts)
        with self._unless_ours(uri, f"{_md5(digests).hex()}-{len(parts)}"):
            self._call(
                "complete_multipart_upload",
                uri,
                writing=True,
                seconds=_COMPLETE_SECONDS,
                UploadId=mark,
                MultipartUpload={"Parts": listed},
                **({"IfNoneMatch": "*"} if only_if_new else {}),
            )

    def abandon(self, uri: str, mark: str) -> None:
        self._call("abort_multipart_upload", uri, writing=True, UploadId=mark)

    def copy(self, uri: str, other: str) -> None:
        bucket, key = place_of(uri)
        target, name = place_of(other)
        with errors_of(other, writing=True):
            self._api.copy({"Bucket": bucket, "Key": key}, target, name, ExtraArgs=dict(self._put_extra))

    def remove(self, uri: str) -> None:
        self._call("delete_object", uri, writing=True)

    def path(self, uri: str) -> Path:
        return cast(Path, self._session.CloudPath(uri))

    def storage_options(self) -> dict[str, str]:
        return storage_options_of(self._session, self._options)

    @contextmanager
    def _unless_ours(self, uri: str, etag: str) -> Iterator[None]:
        """A condition that does not hold is an error; but a request that was repeated, as its first answer was lost,
        finds what it made itself."""
        try:
            yield
        except DestinationExistsError:
            with suppress(SourceNotFoundError):  # it may have gone again
                if self.head(uri, writing=True).etag == etag:
                    return
            raise

    def _region(self, bucket: str) -> str:
        with suppress(CytoTableError):
            uri = f"s3://{bucket}/"
            return str(self._answer("head_bucket", uri, writing=False, Bucket=bucket).get("BucketRegion") or "")
        return ""

    def _send(self, operation: str, uri: str, content: io.BytesIO, digest: bytes, **arguments: Any) -> Any:
        seconds = self.patience.seconds + content.getbuffer().nbytes / _LEAST_RATE
        content.seek(0)
        arguments |= {"Body": content, "ContentMD5": b64encode(digest).decode()}
        return self._call(operation, uri, writing=True, seconds=seconds, **arguments)

    def _call(self, operation: str, uri: str, *, writing: bool = False, seconds: float = 0, **arguments: Any) -> Any:
        """The answer to a request about an object; of content, its beginning."""
        bucket, key = place_of(uri)
        return self._answer(operation, uri, writing=writing, seconds=seconds, Bucket=bucket, Key=key, **arguments)

    def _answer(self, operation: str, uri: str, *, writing: bool, seconds: float = 0, **arguments: Any) -> Any:
        conditional = writing and not {"IfMatch", "IfNoneMatch"}.isdisjoint(arguments)
        with _sensible(uri, writing), errors_of(uri, writing=writing, conditional=conditional):
            request = partial(getattr(self._api, operation), **arguments)
            answer = answered(request, uri, seconds or self.patience.seconds, writing=writing)
        with suppress(ValueError, LookupError):
            said = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
            self.ahead = said.timestamp() - time.time()
        return answer


@contextmanager
def _sensible(uri: str, writing: bool) -> Iterator[None]:
    """What boto3 raises where an answer is none of S3."""
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except (BotoCoreError, CytoTableError):  # some are ValueErrors too
        raise
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise senseless(uri, error, writing=writing) from None


def _remote(uri: str, answer: Mapping[str, Any], size: object) -> Remote:
    """An object, as an answer to HEAD or GET has it."""
    etag, modified = answer.get("ETag"), answer.get("LastModified")
    if not isinstance(size, int) or size < 0 or not etag:
        raise senseless(uri, "it has no ETag or no length")
    return Remote(
        uri,
        size,
        str(etag).strip('"'),
        {name: str(answer[f"Checksum{name}"]) for name in _CHECKSUMS if answer.get(f"Checksum{name}")},
        answer.get("ServerSideEncryption") not in _PLAIN or bool(answer.get("SSECustomerAlgorithm")),
        modified if isinstance(modified, datetime) else None,
    )


def _whole_size(uri: str, answer: Mapping[str, Any], span: tuple[int, int]) -> int:
    """Bytes of the object that some were asked of."""
    said, _, whole = str(answer.get("ContentRange")).partition("/")
    if said != f"bytes {span[0]}-{span[1] - 1}" or not whole.isdecimal():
        raise senseless(uri, f"bytes {span[0]} to {span[1] - 1} were asked for, and it sends others")
    return int(whole)


def _blocks(stream: Any, size: int) -> Iterator[bytes]:
    while size > 0 and (block := stream.read(min(_BLOCK, size))):
        size -= len(block)
        yield block


def _names(uri: str, answer: Mapping[str, Any]) -> Names:
    """An answer to a listing.

    Raises:
        DownloadError: an entry lacks its size or ETag.
    """
    bucket = bucket_of(uri)
    for entry in answer.get("Contents", []):
        if not {"Key", "Size", "ETag", "LastModified"} <= entry.keys():
            raise senseless(uri, f"it lists {brief(entry.get('Key'))!r} in the wrong way")
    return Names(
        [
            Remote(f"{bucket}{entry['Key']}", entry["Size"], entry["ETag"].strip('"'), modified=entry["LastModified"])
            for entry in answer.get("Contents", [])
        ],
        [f"{bucket}{entry.get('Prefix')}" for entry in answer.get("CommonPrefixes", [])],
        (answer.get("NextContinuationToken") or "") if answer.get("IsTruncated") else None,
    )


def _said(answer: Mapping[str, Any], what: str, uri: str) -> str:
    if not answer.get(what):
        raise senseless(uri, f"it has no {what}", writing=True)
    return str(answer[what])


def _initiated(entry: Mapping[str, Any]) -> Any:
    return entry["Initiated"]


def _md5(content: "ReadableBuffer") -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()
