"""Objects of a store: what S3 says of them, in calls that end, each with the address that it is about.

How long a store is waited for: 10 s for a connection, or to send a block, and 15 s for each read, in three attempts;
60 s for an answer in all, for one that sends a byte now and then would be waited for for ever.
"""

import inspect
import os
import re
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cytotable_dagster.core.errors import CytoTableError, DownloadError, OptionError, UploadError
from cytotable_dagster.core.shown import one_line
from cytotable_dagster.core.storage.store_errors import errors_of, senseless
from cytotable_dagster.core.support.hidden import is_hidden
from cytotable_dagster.core.support.patience import within

if TYPE_CHECKING:
    from cloudpathlib import S3Client

T = TypeVar("T")

SCHEME = "s3://"
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# Options of ours among those of the cloud client.
_OWN_OPTIONS = ("cache_limit",)
# Seconds, see above. Three attempts are what the mode `standard` means where AWS_MAX_ATTEMPTS says nothing else.
CONNECT_SECONDS, READ_SECONDS, ANSWER_SECONDS = 10, 15, 60
_REDIRECTS = 2
_RETRIES = {"mode": "standard"}
# An ETag is no digest of the content where the store encrypts with a key that is not its own.
_PLAIN = (None, "", "AES256")
_CHECKSUMS = ("SHA256", "SHA1", "CRC32", "CRC32C", "CRC64NVME")
# Pages of a thousand names in one listing, and pages in a row with none in them.
_MOST_PAGES, _EMPTY_PAGES = 10_000, 100


@dataclass(frozen=True)
class Remote:
    """An object of a store: `size` in bytes, `etag` without quotes, `checksums` in base64 by their names (with `-N`
    behind where they are of the checksums of N parts); `encrypted` says that the ETag is no digest of the content."""

    uri: str
    size: int
    etag: str
    checksums: Mapping[str, str] = field(default_factory=dict)
    encrypted: bool = False


def is_remote(address: str) -> bool:
    """Whether an address names an object in a store rather than a file of this machine."""
    return _REMOTE.match(address) is not None


def check_store(address: str) -> None:
    """Refuse an address that is neither this machine's nor S3's.

    Raises:
        OptionError: naming the kind of address (`gs://`, `az://`).
    """
    if is_remote(address) and not address.startswith(SCHEME):
        scheme = address.partition("://")[0]
        raise OptionError(
            f"{address}: {scheme}:// addresses are not supported in this version; there are s3:// and files of this "
            "machine"
        )


def is_prefix(address: str) -> bool:
    """Whether an address is that of a folder: its last name has no ending."""
    return address.endswith("/") or "." not in address.rsplit("/", 1)[-1]


def checked_cloud_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that the S3 client takes; `local_cache_dir` is among them, and `cache_limit`.

    Raises:
        TypeError: an option that it does not know; the message names it.
    """
    if not options:
        return {}
    from cloudpathlib import S3Client

    known = [*(name for name in inspect.signature(S3Client.__init__).parameters if name != "self"), *_OWN_OPTIONS]
    for name in options:
        if name not in known:
            raise TypeError(
                f"convert() got an unexpected keyword argument {name!r}; the cloud client takes: {', '.join(known)}"
            )
    return dict(options)


def options_to_write(own: Mapping[str, Any] | None, cloud: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a destination's client: its own, else those of the source's.

    What is public to read is seldom open to write, so that requests are signed even where those to the source are not.
    """
    if own is not None:
        return checked_cloud_options(own)
    return {name: value for name, value in cloud.items() if name != "no_sign_request"}


@contextmanager
def store(cloud: Mapping[str, Any], address: str) -> "Iterator[S3Client]":
    """A client of the store; its errors come out as ours, and name `address`."""
    with errors_of(address):
        yield client_of(cloud)


def client_of(cloud: Mapping[str, Any], *, attempts: int | None = None) -> "S3Client":
    """A client of the store that these options name; no call is made. A session that is among them keeps its own
    timeouts.

    Raises:
        OptionError: an `endpoint_url` that is none.
    """
    import botocore.session
    from botocore.config import Config
    from cloudpathlib import S3Client
    from cloudpathlib.enums import FileCacheMode

    options = {name: value for name, value in cloud.items() if name not in _OWN_OPTIONS}
    if not {"botocore_session", "boto3_session"} & options.keys():
        session = botocore.session.Session()
        session.set_default_client_config(
            Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={**_RETRIES, **({"total_max_attempts": attempts} if attempts else {})},
                # Content is verified here, by what the store says of it.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            )
        )
        options["botocore_session"] = session
    try:
        # A folder that is there only once a path of ours is opened by cloudpathlib; its own default is made at once.
        place = Path(tempfile.gettempdir()) / f"cytotable-{secrets.token_hex(8)}"
        client = S3Client(**{**options, "local_cache_dir": place, "file_cache_mode": FileCacheMode.tmp_dir})
    except ValueError:
        where = str(cloud.get("endpoint_url") or os.environ.get("AWS_ENDPOINT_URL")).rpartition("@")[2]
        raise OptionError(f"endpoint_url {where}: no address of a store; write it as https://host") from None
    _forbid_circles(client.client.meta.events)
    return client


def _forbid_circles(events: Any) -> None:
    """Where a store sends elsewhere, botocore asks it for the bucket's region, and where that answer sends elsewhere,
    again."""
    from botocore.exceptions import BotoCoreError

    class CircleError(BotoCoreError):  # type: ignore[misc]  # botocore has no types
        fmt = "it sends from one place to the next, and from there on"

    asking = threading.local()

    def begin(**_: Any) -> None:
        if getattr(asking, "depth", 0) >= _REDIRECTS:
            raise CircleError
        asking.depth = getattr(asking, "depth", 0) + 1

    def end(**_: Any) -> None:
        asking.depth = max(0, getattr(asking, "depth", 0) - 1)

    events.register("before-call.s3.HeadBucket", begin)
    events.register("after-call.s3.HeadBucket", end)
    events.register("after-call-error.s3.HeadBucket", end)


def call(
    client: Any,
    operation: str,
    address: str,
    *,
    writing: bool = False,
    seconds: float = ANSWER_SECONDS,
    **arguments: Any,
) -> Any:
    """The answer of a boto3 client to one request; of content, its beginning."""
    return answer_of(lambda: getattr(client, operation)(**arguments), address, writing=writing, seconds=seconds)


def answer_of(request: Callable[[], T], address: str, *, writing: bool = False, seconds: float = ANSWER_SECONDS) -> T:
    """The same, of a function that asks the store."""
    from botocore.exceptions import BotoCoreError

    with errors_of(address, writing=writing):
        try:
            return within(seconds, request)
        except BotoCoreError:  # some are ValueErrors too
            raise
        except TimeoutError as error:
            failed = UploadError if writing else DownloadError
            raise failed(f"{address}: the store gave {error}; check endpoint and network") from None
        except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
            raise senseless(address, error, writing=writing) from None


def place_of(uri: str) -> tuple[str, str]:
    """Bucket and key of an address.

    Raises:
        OptionError: it is none of S3.
    """
    check_store(uri)
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    if not uri.startswith(SCHEME) or not bucket:
        raise OptionError(f"{uri}: no file of this machine, and not s3://bucket/key")
    return bucket, key


def head(uri: str, cloud: Mapping[str, Any]) -> Remote:
    """What the store says of an object, without its content."""
    with store(cloud, uri) as client:
        return describe(client, uri)


def describe(client: "S3Client", uri: str, **more: Any) -> Remote:
    """The same, of a client that is there; `more` are arguments of HeadObject."""
    bucket, key = place_of(uri)
    answer = call(
        client.client,
        "head_object",
        uri,
        **{"Bucket": bucket, "Key": key, "ChecksumMode": "ENABLED", **client.boto3_dl_extra_args, **more},
    )
    return remote_of(uri, answer, answer.get("ContentLength"))


def begins(client: "S3Client", uri: str, size: int) -> bytes:
    """The first bytes of an object."""
    bucket, key = place_of(uri)
    # No range is asked for, which an empty object has none of.
    answer = call(client.client, "get_object", uri, Bucket=bucket, Key=key, **client.boto3_dl_extra_args)
    with closing(answer["Body"]) as body:
        return answer_of(lambda: bytes(body.read(size)), uri)


def part_sizes(client: "S3Client", remote: Remote, parts: int) -> list[int]:
    """Sizes in bytes of the first parts that an object was uploaded in; empty where the store does not tell."""
    bucket, key = place_of(remote.uri)
    found: list[int] = []
    for number in range(1, parts + 1):
        more = {"PartNumber": number, **client.boto3_dl_extra_args}
        try:
            answer = call(client.client, "head_object", remote.uri, Bucket=bucket, Key=key, **more)
        except CytoTableError:
            return []
        if not answer.get("PartsCount"):
            return []
        found.append(int(answer["ContentLength"]))
    return found


def remote_of(uri: str, answer: Mapping[str, Any], size: object) -> Remote:
    """An object, as an answer to HEAD or GET has it."""
    etag = answer.get("ETag")
    if not isinstance(size, int) or size < 0 or not etag:
        raise senseless(uri, "it has no ETag or no length")
    checksums = {name: str(answer[f"Checksum{name}"]) for name in _CHECKSUMS if answer.get(f"Checksum{name}")}
    encrypted = answer.get("ServerSideEncryption") not in _PLAIN or bool(answer.get("SSECustomerAlgorithm"))
    return Remote(uri, size, str(etag).strip('"'), checksums, encrypted)


def list_remote(uri: str, cloud: Mapping[str, Any], *, below: bool = False) -> list[str]:
    """Addresses of the objects directly under a prefix, and of the folders there, which end in `/`, sorted; with
    `below`, of all objects under it. What is hidden (see `hidden`) is left out."""
    with store(cloud, uri) as client:
        if below:
            return [remote.uri for remote in objects_below(client, uri)]
        bucket, _ = place_of(uri)
        found = []
        for page in pages_of(
            client.client, uri, _prefix_of(uri), bucket, Delimiter="/", **client.boto3_list_extra_args
        ):
            found += [entry["Key"] for entry in page.get("Contents", [])]
            found += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        prefix = _prefix_of(uri)
        shown = (key for key in found if key != prefix and not is_hidden(key.removeprefix(prefix)))
        return sorted(f"{SCHEME}{bucket}/{key}" for key in shown)


def objects_below(client: "S3Client", uri: str) -> "list[Remote]":
    """Every object under a prefix that is not hidden, with its size and ETag, by address; a thousand in one call."""
    bucket, _ = place_of(uri)
    prefix = _prefix_of(uri)
    return [
        Remote(f"{SCHEME}{bucket}/{entry['Key']}", entry["Size"], entry["ETag"].strip('"'))
        for page in pages_of(client.client, uri, prefix, bucket, **client.boto3_list_extra_args)
        for entry in page.get("Contents", [])
        if not is_hidden(entry["Key"].removeprefix(prefix))
    ]


def _prefix_of(uri: str) -> str:
    key = place_of(uri)[1].rstrip("/")
    return f"{key}/" if key else ""


def pages_of(
    client: Any, address: str, prefix: str, bucket: str, *, writing: bool = False, **more: Any
) -> Iterator[Any]:
    """The answers of a boto3 client to a listing, a thousand names each; errors are about `address`.

    Raises:
        DownloadError: it goes round in circles, lists what is not under the prefix, or is longer than any can be.
    """
    tokens: set[str] = set()
    empty = 0
    arguments = {"Bucket": bucket, "Prefix": prefix, **more}
    for _ in range(_MOST_PAGES):
        answer = call(client, "list_objects_v2", address, writing=writing, **arguments)
        check_page(address, prefix, answer)
        yield answer
        empty = 0 if answer.get("Contents") or answer.get("CommonPrefixes") else empty + 1
        token = answer.get("NextContinuationToken")
        if not answer.get("IsTruncated"):
            return
        if not token or token in tokens or empty > _EMPTY_PAGES:
            raise senseless(address, "its listing goes round in circles", writing=writing)
        tokens.add(token)
        arguments["ContinuationToken"] = token
    raise DownloadError(f"{address}: more than {_MOST_PAGES:,}000 objects are there; name a folder further down")


def check_page(uri: str, prefix: str, answer: Mapping[str, Any]) -> None:
    """Refuse an answer to a listing that is none.

    Raises:
        DownloadError: an entry lacks its size or ETag, or is not under the prefix.
    """
    for entry in answer.get("Contents", []):
        if not {"Key", "Size", "ETag", "LastModified"} <= entry.keys() or not entry["Key"].startswith(prefix):
            raise senseless(uri, f"it lists {one_line(str(entry.get('Key')), 100)!r} in the wrong way")
    for entry in answer.get("CommonPrefixes", []):
        if not entry.get("Prefix", "").startswith(prefix):
            raise senseless(uri, f"it lists {one_line(str(entry.get('Prefix')), 100)!r} in the wrong way")
