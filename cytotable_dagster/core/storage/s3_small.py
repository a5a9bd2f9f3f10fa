"""Small objects of S3 by the object_store library: a request takes a tenth of the time of a core that boto3 takes, and
most of that without the lock that Python's threads share.

It is asked for what has an MD5, and believed where that is equal. Whatever else comes is no answer, and the caller asks
by boto3: so what is refused, elsewhere, encrypted or broken off is told and repeated as it always is.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING

from cytotable_dagster.core.storage.address import place_of
from cytotable_dagster.core.storage.answers import Remedies, refusal
from cytotable_dagster.core.storage.objects import Remote

if TYPE_CHECKING:
    from obstore.store import S3Store

# Failures after which it is asked no more; seconds after which credentials are asked for again; seconds for an answer.
_FAILURES, _RENEWED, _SECONDS = 3, 300.0, 30
# AWS's own address, plain; others of it (FIPS, two stacks, China) boto3 knows.
_AWS = re.compile(r"https://s3(\.[a-z0-9-]+)?\.amazonaws\.com/?")
# Its threads do not live on in a forked process.
_begun_in: set[int] = set()


class Small:
    """Objects of any bucket.

    Args:
        options: as `objects.Client.storage_options` gives them, at that moment.
        region: of a bucket of AWS; empty where it is not told.
    """

    def __init__(self, endpoint: str, options: Callable[[], Mapping[str, str]], region: Callable[[str], str]) -> None:
        self._endpoint, self._options, self._region = endpoint, options, region
        self._lock = Lock()
        self._failed = 0
        self._made: dict[str, tuple[S3Store, float]] = {}

    def content(self, remote: Remote) -> bytes | None:
        """The content of an object of this version; None where it did not come.

        Raises:
            SourceChangedError: it is another version by now.
        """
        try:
            import obstore
            from obstore.exceptions import BaseError, PreconditionError
        except ImportError:  # there is none for this system
            return None
        if not remote.size or remote.md5 is None or self._failed >= _FAILURES:
            return None
        try:
            bucket, key = place_of(remote.uri)
            store = self._store(bucket)
            if store is None:
                return None
            answer = obstore.get(store, key, options={"if_match": f'"{remote.etag}"'})
            content = bytes(answer.bytes())
        except PreconditionError:
            raise refusal(remote.uri, "412", 412, Remedies("", "")) from None
        except (BaseError, OSError, ValueError):  # some of its own are none of the first
            self._failed += 1
            return None
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != remote.md5:
            self._failed += 1
            return None
        return content

    def _store(self, bucket: str) -> "S3Store | None":
        with self._lock:
            if _begun_in - {os.getpid()}:
                return None
            store, made_at = self._made.get(bucket, (None, 0.0))
            if store is None or time.monotonic() - made_at > _RENEWED:
                store = self._new(bucket)
                if store is None:
                    self._failed = _FAILURES
                else:
                    self._made[bucket] = store, time.monotonic()
            return store

    def _new(self, bucket: str) -> "S3Store | None":
        from obstore.store import S3Store

        said = {name: value for name, value in self._options().items() if name.startswith("aws_")}
        if "aws_endpoint" not in said:
            region = self._region(bucket) if _AWS.fullmatch(self._endpoint) else ""
            if not region:
                return None
            said["aws_region"] = region
        _begun_in.add(os.getpid())
        http = self._endpoint.startswith("http://")
        return S3Store(
            bucket,
            config=said,  # type: ignore[arg-type]  # any of its names
            client_options={"connect_timeout": "10s", "timeout": f"{_SECONDS}s", "allow_http": http},
            retry_config={"max_retries": 0},
        )
