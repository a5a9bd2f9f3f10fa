"""An object of a store that is written as a file: it goes up in parts while it grows, and appears when it is whole.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html; only what other stores understand too: MD5 sums
go with the parts, no checksums of later years.
"""

import hashlib
import io
from base64 import b64encode
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import CytoTableError, DestinationExistsError, UploadError
from cytotable_dagster.core.storage.client import call
from cytotable_dagster.core.storage.store_errors import errors_of, senseless

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from _typeshed import ReadableBuffer

# Bytes of the first parts. Later ones are larger, so that the 10,000 parts that an object may have are a terabyte.
PART_BYTES = 16 << 20
_PARTS_OF_A_SIZE = 2000
_MOST_PARTS = 10_000
# Parts that go up at once, for all files of a destination: with a part that is being filled for each file, what an
# upload takes of memory.
IN_FLIGHT = 4
# Seconds for an answer, which S3 takes its time for where it puts thousands of parts together; and bytes in a second,
# of each part that goes up.
_SECONDS, _LEAST_RATE = 300.0, 10_000
# Pages of uploads that were begun and not ended.
_MOST_PAGES = 1000


def part_bytes(number: int) -> int:
    """Size of a part, the first being 1."""
    return PART_BYTES << ((number - 1) // _PARTS_OF_A_SIZE)


@dataclass(frozen=True)
class Bucket:
    """A bucket that is written to: boto3's client, what it is to add to each new object, and the threads for parts."""

    name: str
    client: Any
    extra: "Mapping[str, Any]"
    pool: Executor
    room: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(IN_FLIGHT))


class Upload(io.RawIOBase):
    """A file that is only written to. An upload of this key that a killed process left is gone on with: what would be
    sent is compared by number, size and MD5 with the parts that are there, and those that are equal are not sent.

    Closing it waits until everything is in the store; `publish` then makes the object of it, `abort` forgets it.
    """

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._address = f"s3://{bucket.name}/{key}"
        self._at = 0
        # A file, for what is sent of one in a call is a block of it, which the time for a call to send is for.
        self._filling = io.BytesIO()
        self._id: str | None = None
        self._etag = ""
        self._there: dict[int, tuple[int, str]] = {}
        self._parts: list[Future[str]] = []

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: "ReadableBuffer", /) -> int:
        """Take all of `data`; a part that is full goes up.

        Raises:
            CytoTableError: an earlier part could not be sent.
        """
        view = memoryview(data).cast("B")
        taken = 0
        while taken < len(view):
            full = part_bytes(len(self._parts) + 1)
            block = view[taken : taken + full - self._filling.tell()]
            self._filling.write(block)
            taken += len(block)
            if self._filling.tell() == full:
                self._send()
        self._at += taken
        return taken

    def close(self) -> None:
        """Wait until all parts are in the store. What is smaller than one is sent when it is published."""
        if self.closed:
            return
        if self._parts and self._filling.tell():
            self._send()
        for part in self._parts:
            part.result()
        super().close()

    def publish(self, *, only_if_new: bool = False) -> None:
        """Make the object of what was written, in place of one that is there.

        Args:
            only_if_new: an object that is there is an error instead; for stores that know conditions.

        Raises:
            DestinationExistsError: it is there.
        """
        self.close()
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if only_if_new else {}
        with self._unless_there():
            if self._id is None:
                body = self._filling
                base64, self._etag = _md5(body.getbuffer())
                self._call("put_object", body, ContentMD5=base64, **condition, **self._bucket.extra)
                return
            parts = [{"PartNumber": number, "ETag": part.result()} for number, part in enumerate(self._parts, 1)]
            digests = b"".join(bytes.fromhex(part.result().strip('"').zfill(32)[:32]) for part in self._parts)
            self._etag = f"{_md5(digests)[1]}-{len(parts)}"
            done: dict[str, Any] = {"UploadId": self._id, "MultipartUpload": {"Parts": parts}, **condition}
            self._call("complete_multipart_upload", **done)
            self._id = None

    @contextmanager
    def _unless_there(self) -> "Iterator[None]":
        """A condition that does not hold is an error; but a request that was repeated, as its first answer was lost,
        finds what it made itself."""
        try:
            yield
        except DestinationExistsError:
            if str(self._call("head_object").get("ETag")).strip('"') != self._etag:
                raise

    def abort(self) -> None:
        """Forget what was written, in the store too where it can be reached."""
        for part in self._parts:
            part.cancel()
        # A part that arrived afterwards would stay, and cost.
        wait(self._parts)
        super().close()
        if self._id is not None:
            with suppress(CytoTableError), errors_of(self._address, writing=True):
                self._call("abort_multipart_upload", UploadId=self._id)

    def __del__(self) -> None:
        """Nothing: one that is neither published nor aborted is that of a process that ends."""

    def _send(self) -> None:
        number, body = len(self._parts) + 1, self._filling
        if number > _MOST_PARTS:
            raise UploadError(f"{self._address}: larger than an object may be, {self._at:,} bytes; use a dataset")
        if self._id is None:
            with errors_of(self._address, writing=True):
                self._id = self._begun() or self._said(
                    self._call("create_multipart_upload", **self._bucket.extra), "UploadId"
                )
        for part in self._parts:
            if part.done():
                part.result()
        self._filling = io.BytesIO()
        self._bucket.room.acquire()
        self._parts.append(self._bucket.pool.submit(self._send_part, number, body))

    def _send_part(self, number: int, body: io.BytesIO) -> str:
        with self._leaving_room():
            base64, hexadecimal = _md5(body.getbuffer())
            if self._there.get(number) == (body.tell(), hexadecimal):
                return f'"{hexadecimal}"'
            sent = self._call("upload_part", body, UploadId=self._id, PartNumber=number, ContentMD5=base64)
            return self._said(sent, "ETag")

    @contextmanager
    def _leaving_room(self) -> "Iterator[None]":
        try:
            yield
        finally:
            self._bucket.room.release()

    def _begun(self) -> str | None:
        """The latest upload of this key that was begun and not ended, if any; its parts are kept in mind.

        Whoever may write may still not be allowed to list, and some stores cannot: then it begins anew.
        """
        from botocore.exceptions import ClientError

        client, place = self._bucket.client, {"Bucket": self._bucket.name}
        with suppress(ClientError):
            pages = client.get_paginator("list_multipart_uploads").paginate(**place, Prefix=self._key)
            begun = [
                entry
                for page in islice(pages, _MOST_PAGES)
                for entry in page.get("Uploads", [])
                if entry["Key"] == self._key
            ]
            if begun:
                latest = str(max(begun, key=lambda entry: entry["Initiated"])["UploadId"])
                parts = client.get_paginator("list_parts").paginate(**place, Key=self._key, UploadId=latest)
                for entry in (entry for page in parts for entry in page.get("Parts", [])):
                    self._there[entry["PartNumber"]] = (entry["Size"], entry["ETag"].strip('"'))
                return latest
        return None

    def _said(self, answer: Any, what: str) -> str:
        if not answer.get(what):
            raise senseless(self._address, f"it has no {what}", writing=True)
        return str(answer[what])

    def _call(self, operation: str, body: io.BytesIO | None = None, **arguments: Any) -> Any:
        seconds = _SECONDS
        if body is not None:
            seconds += body.tell() / _LEAST_RATE
            body.seek(0)
            arguments["Body"] = body
        arguments |= {"Bucket": self._bucket.name, "Key": self._key}
        return call(self._bucket.client, operation, self._address, writing=True, seconds=seconds, **arguments)


def _md5(content: "ReadableBuffer") -> tuple[str, str]:
    """In base64, as the header wants it, and in hexadecimal, as the ETag of a part is."""
    digest = hashlib.md5(content, usedforsecurity=False)
    return b64encode(digest.digest()).decode(), digest.hexdigest()
