"""What a store or the way to it answers when it does not answer what was asked, as errors of ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cytotable_dagster.core.errors import (
    CytoTableError,
    DestinationExistsError,
    DownloadError,
    SourceAccessError,
    SourceChangedError,
    SourceNotFoundError,
    UploadError,
)
from cytotable_dagster.core.shown import one_line

_NOT_THERE = ("404", "NoSuchKey", "NoSuchBucket", "NotFound")
_REFUSED = ("401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")
_REPLACED = ("412", "PreconditionFailed")
_ELSEWHERE = ("301", "302", "307", "308", "PermanentRedirect", "TemporaryRedirect", "Redirect")
_TO_WRITE = "give credentials that may write there (aws_access_key_id=..., profile_name=... or the AWS_ variables)"
# Characters of a store's own message.
_MOST = 300


@contextmanager
def errors_of(address: str, *, writing: bool = False) -> Iterator[None]:
    """Errors of the store as ours. What the library raised is left out of them: it may show a password.

    Raises:
        SourceNotFoundError, SourceAccessError: the object is not there, or the store refuses.
        SourceChangedError: it is another one than was asked for.
        DestinationExistsError: it is there, and was to be made only if it was not.
        DownloadError, UploadError: the store fails or cannot be reached, which may pass; the other one with `writing`.
    """
    import botocore.exceptions as errors
    from boto3.exceptions import Boto3Error
    from cloudpathlib.exceptions import CloudPathException, NoStatError

    failed = UploadError if writing else DownloadError
    try:
        yield
    except CytoTableError:
        raise
    except errors.NoCredentialsError:
        remedy = _TO_WRITE if writing else "for public data pass no_sign_request=True"
        raise SourceAccessError(f"{address}: no credentials were found; {remedy}") from None
    except errors.ClientError as error:
        raise _translated(address, error, writing) from None
    except NoStatError:
        raise SourceNotFoundError(f"{address}: no such bucket or object; check the address") from None
    except errors.ParamValidationError as error:
        raise SourceNotFoundError(f"{address}: no store has it ({_said(error)}); check the address") from None
    except (errors.BotoCoreError, Boto3Error, CloudPathException) as error:
        raise failed(
            f"{address}: the store cannot be reached or used ({_said(error)}); check endpoint and network"
        ) from (None)


def senseless(address: str, what: object, *, writing: bool = False) -> CytoTableError:
    """The error for an answer that no store gives."""
    return (UploadError if writing else DownloadError)(
        f"{address}: the store's answer makes no sense ({_said(what)}); check that the endpoint is one of S3"
    )


def _said(what: object) -> str:
    return one_line(str(what), _MOST)


def _translated(address: str, error: Any, writing: bool) -> CytoTableError:
    about = error.response.get("Error", {})
    code = str(about.get("Code", ""))
    what = f"{address}: the store answered {_said(code)} to {error.operation_name}"
    if code in _NOT_THERE:
        return SourceNotFoundError(f"{what}: no such bucket or object; check the address")
    if code in _REFUSED:
        remedy = _TO_WRITE if writing else "check credentials, or no_sign_request=True for public data"
        return SourceAccessError(f"{what}: access refused; {remedy}")
    if code in _REPLACED and not writing:
        return SourceChangedError(f"{address}: was replaced while it was read; try again")
    if code in _REPLACED:
        return DestinationExistsError(
            f"{address}: exists, made meanwhile; pass overwrite=True to replace it, or another dest_path"
        )
    if code in _ELSEWHERE:
        where = str(about.get("Endpoint", ""))
        return (UploadError if writing else DownloadError)(
            f"{what}: the bucket is elsewhere{f', at {_said(where)}' if where else ''}; check endpoint and region"
        )
    return (UploadError if writing else DownloadError)(f"{what} ({_said(about.get('Message', ''))}); try again")
