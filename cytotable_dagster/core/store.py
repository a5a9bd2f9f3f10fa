"""Objects of a store: what S3 says of them, and its errors as ours, each with the address that it is about."""

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import (
    CytoTableError,
    DownloadError,
    SourceAccessError,
    SourceNotFoundError,
    UploadError,
)

if TYPE_CHECKING:
    from cloudpathlib import CloudPath, S3Client
    from cloudpathlib.client import Client

_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_NOT_THERE = ("404", "NoSuchKey", "NoSuchBucket", "NotFound")
_REFUSED = ("401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")
# Options of ours among those of the cloud client.
_OWN_OPTIONS = ("cache_limit",)
_TO_WRITE = "give credentials that may write there (aws_access_key_id=..., profile_name=... or the AWS_ variables)"


@dataclass(frozen=True)
class Remote:
    """An object of a store: `size` in bytes, `etag` without quotes."""

    uri: str
    size: int
    etag: str


def is_remote(address: str) -> bool:
    """Whether an address names an object in a store rather than a file of this machine."""
    return _REMOTE.match(address) is not None


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
def store(cloud: Mapping[str, Any], address: str) -> "Iterator[Client]":
    """A client of the store; its errors come out as ours, and name `address`."""
    with errors_of(address):
        yield client_of(cloud)


def client_of(cloud: Mapping[str, Any]) -> "S3Client":
    """A client of the store that these options name; no call is made."""
    from cloudpathlib import S3Client

    options = {name: value for name, value in cloud.items() if name not in _OWN_OPTIONS}
    return S3Client(**{**options, "local_cache_dir": None})


@contextmanager
def errors_of(address: str, *, writing: bool = False) -> Iterator[None]:
    """Errors of the store as ours.

    Raises:
        SourceNotFoundError, SourceAccessError: the object is not there, or the store refuses.
        DownloadError, UploadError: the store fails or cannot be reached, which may pass; the other one with `writing`.
    """
    import botocore.exceptions as errors
    from boto3.exceptions import Boto3Error
    from cloudpathlib.exceptions import CloudPathException, NoStatError

    try:
        yield
    except CytoTableError:
        raise
    except errors.NoCredentialsError as error:
        remedy = _TO_WRITE if writing else "for public data pass no_sign_request=True"
        raise SourceAccessError(f"{address}: no credentials were found; {remedy}") from error
    except errors.ClientError as error:
        raise _translated(address, error, writing) from error
    except NoStatError as error:
        raise SourceNotFoundError(f"{address}: no such bucket or object; check the address") from error
    except (errors.BotoCoreError, Boto3Error, CloudPathException) as error:
        raise (UploadError if writing else DownloadError)(
            f"{address}: the store cannot be reached or used ({error}); check endpoint and network"
        ) from error


def _translated(address: str, error: Any, writing: bool) -> CytoTableError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    what = f"{address}: the store answered {code} to {error.operation_name}"
    if code in _NOT_THERE:
        return SourceNotFoundError(f"{what}: no such bucket or object; check the address")
    if code in _REFUSED:
        remedy = _TO_WRITE if writing else "check credentials, or no_sign_request=True for public data"
        return SourceAccessError(f"{what}: access refused; {remedy}")
    return (UploadError if writing else DownloadError)(
        f"{what} ({error.response.get('Error', {}).get('Message', '')}); try again"
    )


def describe(path: "CloudPath") -> Remote:
    """Size and ETag of an object."""
    return Remote(str(path), path.stat().st_size, path.etag.strip('"'))  # type: ignore[attr-defined]


def head(uri: str, cloud: Mapping[str, Any]) -> Remote:
    """Size and ETag of an object, without its content."""
    with store(cloud, uri) as client:
        return describe(client.CloudPath(uri))


def list_remote(uri: str, cloud: Mapping[str, Any], *, below: bool = False) -> list[str]:
    """Addresses of the objects directly under a prefix, sorted; with `below`, of all under it."""
    with store(cloud, uri) as client:
        if below:
            return [remote.uri for remote in objects_below(client.CloudPath(uri))]
        return sorted(str(path) for path in client.CloudPath(uri).iterdir())


def objects_below(prefix: "CloudPath") -> "list[Remote]":
    """Every object under a prefix with its size and ETag, by address; a thousand in one call."""
    pages = prefix.client.client.get_paginator("list_objects_v2").paginate(
        Bucket=prefix.drive,
        Prefix=prefix.key.rstrip("/") + "/",  # type: ignore[attr-defined]
    )
    return [
        Remote(f"s3://{prefix.drive}/{entry['Key']}", entry["Size"], entry["ETag"].strip('"'))
        for page in pages
        for entry in page.get("Contents", [])
    ]
