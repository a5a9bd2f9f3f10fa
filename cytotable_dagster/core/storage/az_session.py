"""A session with Azure Blob Storage: requests that end, and what is answered to them, as errors of ours.

How long it is waited for: 10 s for a connection and 15 s for each read, in three attempts; see also `objects.Patience`.
"""

import io
import time
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from cytotable_dagster.core.errors import CytoTableError, OptionError, SourceAccessError
from cytotable_dagster.core.storage.answers import (
    PASSING,
    Remedies,
    brief,
    missing,
    refusal,
    repeated,
    senseless,
    unreachable,
)
from cytotable_dagster.core.storage.connections import keep_connections
from cytotable_dagster.core.storage.objects import Patience, answered
from cytotable_dagster.core.storage.temporary_copies import copies

if TYPE_CHECKING:
    from cloudpathlib import AzureBlobClient

T = TypeVar("T")
STORE = "Azure Blob Storage"
# Seconds, see above.
CONNECT_SECONDS, READ_SECONDS = 10, 15
# Bytes in a second of content that goes up.
_LEAST_RATE = 10_000
# Codes of a refusal with other statuses than 401 and 403.
_REFUSING = ("InvalidAuthenticationInfo", "PublicAccessNotPermitted")
# What tokens of Entra ID are for.
_SCOPE = "https://storage.azure.com/.default"
_REMEDIES = Remedies(
    "check credentials (connection_string=..., credential=... or AZURE_STORAGE_CONNECTION_STRING)",
    "give credentials that may write there (connection_string=..., credential=... or AZURE_STORAGE_CONNECTION_STRING)",
)
_NO_ACCOUNT = (
    "which account? pass connection_string=..., or account_url=... (alone for public data, or with credential=...), or "
    "set AZURE_STORAGE_CONNECTION_STRING"
)


def session_of(address: str, options: Mapping[str, Any]) -> "AzureBlobClient":
    """cloudpathlib's client, with Azure's in it; no call is made.

    Raises:
        OptionError: Azure's packages are not installed, no account is named, or what names it is nothing.
    """
    try:
        import azure.storage.blob
        import azure.storage.filedatalake  # noqa: F401  # cloudpathlib's client needs it
    except ImportError:
        raise missing(address, "azure-storage-blob or azure-storage-file-datalake", "azure") from None
    from azure.core.exceptions import AzureError
    from cloudpathlib import AzureBlobClient
    from cloudpathlib.exceptions import MissingCredentialsError

    try:
        made = AzureBlobClient(**{**options, **copies()})
        if "blob_service_client" not in options:
            made.service_client = _with_connections(made.service_client)
        credential, url = made.service_client.credential, made.service_client.url
    except MissingCredentialsError:
        raise OptionError(f"{address}: {_NO_ACCOUNT}") from None
    # What is wrong with a connection string is not shown, as there is a password in it.
    except (AzureError, ValueError, LookupError, TypeError, AttributeError):
        raise OptionError(
            f"{address}: connection_string, account_url or credential is none of Azure's; {_NO_ACCOUNT}"
        ) from None
    if (key := getattr(credential, "account_key", None)) is not None:
        try:
            b64decode(key, validate=True)
        except ValueError:
            raise OptionError(f"{address}: the account's key is no base64; copy it again, to its end") from None
    elif credential is None and "?" not in url and not {"account_url", "blob_service_client"} & options.keys():
        raise OptionError(
            f"{address}: the connection string has no AccountKey and no SharedAccessSignature; copy it again, to its "
            "end, or pass account_url=... for public data"
        )
    return made


def _with_connections(service: Any) -> Any:
    """The same service, whose session keeps connections; what retries requests is here, not in it."""
    from azure.core.pipeline.transport import RequestsTransport
    from azure.storage.blob import BlobServiceClient
    from requests import Session as Connections

    session = Connections()
    keep_connections(session)
    transport = RequestsTransport(session=session, session_owner=False)
    return BlobServiceClient(service.url, credential=service.credential, transport=transport)


class Session:
    """Requests that end."""

    def __init__(self, made: "AzureBlobClient", patience: Patience) -> None:
        self._patience = patience
        self._service = made.service_client
        self.ahead = 0.0

    def container(self, name: str) -> Any:
        return self._service.get_container_client(name)

    def blob(self, container: str, name: str) -> Any:
        return self._service.get_blob_client(container, name)

    def call(
        self,
        uri: str,
        request: Callable[..., T],
        *,
        writing: bool = False,
        conditional: bool = False,
        seconds: float = 0,
        **arguments: Any,
    ) -> T:
        """The answer to a request about an address.

        Raises:
            CytoTableError: see `objects.Client`.
        """
        arguments |= self.options()
        with errors_of(uri, writing=writing, conditional=conditional):
            return answered(
                lambda: repeated(lambda: request(**arguments), self._patience.attempts, _may_pass),
                uri,
                seconds or self._patience.seconds,
                writing=writing,
            )

    def send(
        self, uri: str, request: Callable[..., T], content: io.BytesIO, *, conditional: bool = False, **arguments: Any
    ) -> T:
        """The answer to a request that sends content, from its beginning as often as it is made, and is refused where
        something else arrives."""

        def send(**arguments: Any) -> T:
            content.seek(0)
            return request(data=content, **arguments)

        length = content.getbuffer().nbytes
        return self.call(
            uri,
            send,
            writing=True,
            conditional=conditional,
            seconds=self._patience.seconds + length / _LEAST_RATE,
            length=length,
            validate_content=True,
            **arguments,
        )

    def signed(self, url: str) -> str:
        """An address that the store itself is to read; one with a signature in it has it already."""
        signature = getattr(self._service.credential, "signature", "").lstrip("?")
        return f"{url}{'&' if '?' in url else '?'}{signature}" if signature else url

    def storage_options(self) -> dict[str, str]:
        """See `objects.Client`."""
        service = self._service
        said = {"connect_timeout": f"{CONNECT_SECONDS}s", "client_max_retries": "3", "client_retry_timeout": "60"}
        said["azure_storage_account_name"] = service.account_name or ""
        said["azure_endpoint"] = f"{service.scheme}://{service.primary_hostname}"
        said["allow_http"] = str(service.scheme == "http").lower()
        if key := getattr(service.credential, "account_key", None):
            return {**said, "azure_storage_account_key": key}
        if signature := self.signed(service.url).partition("?")[2]:
            return {**said, "azure_storage_sas_token": signature}
        if service.credential is None:
            return {**said, "azure_skip_signature": "true"}
        with errors_of(service.primary_hostname):
            return {**said, "azure_storage_token": service.credential.get_token(_SCOPE).token}

    def options(self) -> dict[str, Any]:
        """What each request is told. The client itself would wait for half a minute before it tries again."""
        return {
            "connection_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retry_total": 0,
            "raw_response_hook": self._look,
        }

    def _look(self, response: Any) -> None:
        with suppress(ValueError, LookupError, TypeError, AttributeError):
            self.ahead = parsedate_to_datetime(response.http_response.headers["date"]).timestamp() - time.time()


def only(etag: str) -> dict[str, Any]:
    """That a request is for this version only, or with none only where there is no blob."""
    from azure.core import MatchConditions

    if etag:
        return {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}
    return {"match_condition": MatchConditions.IfMissing}


def _may_pass(found: object) -> bool:
    from azure.core.exceptions import (
        ClientAuthenticationError,
        HttpResponseError,
        ServiceRequestError,
        ServiceResponseError,
    )

    if isinstance(found, ClientAuthenticationError):
        return False
    if isinstance(found, HttpResponseError) and found.status_code is not None:
        return found.status_code in PASSING
    return isinstance(found, ServiceRequestError | ServiceResponseError | HttpResponseError)


@contextmanager
def errors_of(address: str, *, writing: bool = False, conditional: bool = False) -> Iterator[None]:
    """Errors of the store as ours. What the library raised is left out of them: it may show a signature."""
    from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

    try:
        yield
    except CytoTableError:
        raise
    except HttpResponseError as error:
        if error.status_code is None:
            if isinstance(error, ClientAuthenticationError):  # of what gives credentials, before anything is asked
                said = brief((error.message or "").partition("\n")[0])
                remedy = _REMEDIES.to_write if writing else _REMEDIES.to_read
                raise SourceAccessError(f"{address}: there are no credentials ({said}); {remedy}") from None
            raise senseless(address, error.message, writing=writing, store=STORE) from None
        code = getattr(error, "error_code", None)
        code = getattr(code, "value", code)
        status = 403 if code in _REFUSING else error.status_code
        # What is there already, or changes at this moment.
        status = 412 if conditional and status == 409 else status
        raise refusal(
            address,
            f"{error.status_code} {brief(code or error.reason or '')}".rstrip(),
            status,
            _REMEDIES,
            message=(error.message or "").partition("\n")[0],
            writing=writing,
            conditional=conditional,
        ) from None
    except AzureError as error:
        raise unreachable(address, error.message, writing=writing) from None
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise senseless(address, error, writing=writing, store=STORE) from None
