"""What S3 or the way to it answers when it does not answer what was asked, as errors of ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cytotable_dagster.core.errors import (
    CytoTableError,
    DownloadError,
    SourceAccessError,
    SourceNotFoundError,
    UploadError,
)
from cytotable_dagster.core.storage.answers import Remedies, brief, refusal, unreachable

# What its codes mean, as HTTP statuses; to conditions there are more, and 501 is that of a store that knows none.
_STATUSES = {
    **dict.fromkeys(("404", "NoSuchKey", "NoSuchBucket", "NotFound"), 404),
    **dict.fromkeys(("401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"), 403),
    **dict.fromkeys(("412", "PreconditionFailed"), 412),
}
_TO_CONDITIONS = {
    **dict.fromkeys(("409", "ConditionalRequestConflict", "404", "NoSuchKey"), 412),
    **dict.fromkeys(("501", "NotImplemented", "InvalidArgument", "InvalidRequest"), 501),
}
_ELSEWHERE = ("301", "302", "307", "308", "PermanentRedirect", "TemporaryRedirect", "Redirect")
_REMEDIES = Remedies(
    "check credentials, or no_sign_request=True for public data",
    "give credentials that may write there (aws_access_key_id=..., profile_name=... or the AWS_ variables)",
)


@contextmanager
def errors_of(address: str, *, writing: bool = False, conditional: bool = False) -> Iterator[None]:
    """Errors of the store as ours. What the library raised is left out of them: it may show a password.

    Raises:
        SourceNotFoundError, SourceAccessError: the object is not there, or the store refuses.
        SourceChangedError: it is another one than was asked for.
        DestinationExistsError: it is there, and was to be made only if it was not; or with `conditional`, it is not the
            one that was to be replaced.
        ConditionsUnknownError: with `conditional`, the store may know no conditions.
        DownloadError, UploadError: the store fails or cannot be reached, which may pass; the other one with `writing`.
    """
    import botocore.exceptions as errors
    from boto3.exceptions import Boto3Error
    from cloudpathlib.exceptions import CloudPathException, NoStatError

    try:
        yield
    except CytoTableError:
        raise
    except errors.NoCredentialsError:
        remedy = _REMEDIES.to_write if writing else "for public data pass no_sign_request=True"
        raise SourceAccessError(f"{address}: no credentials were found; {remedy}") from None
    except errors.ClientError as error:
        raise _translated(address, error, writing, conditional) from None
    except NoStatError:
        raise SourceNotFoundError(f"{address}: no such bucket or object; check the address") from None
    except errors.ParamValidationError as error:
        raise SourceNotFoundError(f"{address}: no store has it ({brief(error)}); check the address") from None
    except (errors.BotoCoreError, Boto3Error, CloudPathException) as error:
        raise unreachable(address, error, writing=writing) from None


def _translated(address: str, error: Any, writing: bool, conditional: bool) -> CytoTableError:
    about = error.response.get("Error", {})
    code = str(about.get("Code", ""))
    what = f"{brief(code)} to {error.operation_name}"
    if code in _ELSEWHERE:
        where = str(about.get("Endpoint", ""))
        return (UploadError if writing else DownloadError)(
            f"{address}: the store answered {what}: the bucket is elsewhere{f', at {brief(where)}' if where else ''}; "
            "check endpoint and region"
        )
    status = {**_STATUSES, **(_TO_CONDITIONS if conditional else {})}.get(code, 500)
    message = about.get("Message", "")
    return refusal(address, what, status, _REMEDIES, message=message, writing=writing, conditional=conditional)
