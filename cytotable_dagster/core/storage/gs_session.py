"""A session with Google Cloud Storage: requests that end, and what is answered to them, as errors of ours.

How long it is waited for: 10 s for a connection and 15 s for each read, in three attempts; see also `objects.Patience`.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.environment import variable
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
    from cloudpathlib import GSClient

STORE = "Google Cloud Storage"
# Seconds, see above.
CONNECT_SECONDS, READ_SECONDS = 10, 15
# Bytes of a body that are sent at once.
_BLOCK = 256 << 10
_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
_REMEDIES = Remedies(
    "check credentials (application_credentials=..., GOOGLE_APPLICATION_CREDENTIALS), or no_sign_request=True for "
    "public data",
    "give credentials that may write there (application_credentials=... or GOOGLE_APPLICATION_CREDENTIALS)",
)


def session_of(address: str, options: Mapping[str, Any]) -> "GSClient":
    """cloudpathlib's client, with Google's in it; where no credentials are found, one without any. A machine of
    Google's is asked for them, but no store.

    Raises:
        OptionError: Google's package is not installed, or the file of credentials is none.
    """
    try:
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import storage
    except ImportError:
        raise missing(address, "google-cloud-storage", "gcs") from None
    from cloudpathlib import GSClient

    given = {**options, **copies()}
    if given.pop("no_sign_request", None):
        given["storage_client"] = storage.Client.create_anonymous_client()
    file = given.get("application_credentials")
    try:
        if file is not None:
            Path(file)
        elif variable(_VARIABLE) and not {"credentials", "storage_client"} & given.keys():
            # Where it names what is no such file, the client would do without credentials.
            file = variable(_VARIABLE)
            google.auth.default()
        made = GSClient(**given)
        if not isinstance(made.client, storage.Client):
            raise TypeError
        return made
    except (GoogleAuthError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        what = f"{file}: {_fault_of(file)}" if isinstance(file, str | Path) else type(error).__name__
        raise OptionError(
            f"{address}: the credentials of Google cannot be used ({what}); name the JSON file of a service account by "
            f"application_credentials=... or {_VARIABLE}"
        ) from None


def _fault_of(file: str | Path) -> str:
    """What is wrong with a file of credentials; what is in it is not shown."""
    try:
        said = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        return str(error.strerror)
    except ValueError:
        return "no JSON, or cut off"
    kind = said.get("type") if isinstance(said, dict) else None
    if kind == "service_account":
        return "something in it is missing or damaged"
    return f"credentials of the type {brief(kind)!r}" if kind else "no credentials"


def storage_options_of(made: "GSClient", options: Mapping[str, Any]) -> dict[str, str]:
    """What the object_store library is told; see `objects.Client`. Credentials that the environment has it finds by
    itself, and renews them; a token, which is all that can be said of others, is valid for an hour."""
    from google.auth.credentials import AnonymousCredentials
    from google.auth.transport.requests import Request

    said = {"connect_timeout": f"{CONNECT_SECONDS}s", "client_max_retries": "3", "client_retry_timeout": "60"}
    if not (endpoint := made.client.api_endpoint.rstrip("/")).startswith("https://storage.googleapis.com"):
        said |= {"google_base_url": endpoint, "allow_http": str(endpoint.startswith("http://")).lower()}
    credentials = made.client._http.credentials
    if isinstance(credentials, AnonymousCredentials):
        # To write it would look for credentials nevertheless.
        return {**said, "google_skip_signature": "true", "google_storage_token": "none"}
    if not {"credentials", "storage_client"} & options.keys():
        named = options.get("application_credentials")
        return {**said, **({"google_service_account": str(named)} if named else {})}
    with errors_of("gs://"):
        if not credentials.valid:
            credentials.refresh(Request())
        return {**said, "google_storage_token": credentials.token}


class Session:
    """Requests of the JSON API, https://cloud.google.com/storage/docs/json_api/v1."""

    def __init__(self, made: "GSClient", patience: Patience) -> None:
        self._patience = patience
        self._http = made.client._http
        keep_connections(self._http)
        self._base = made.client.api_endpoint.rstrip("/")
        self.ahead = 0.0

    def call(
        self,
        method: str,
        uri: str,
        path: str,
        *,
        writing: bool = False,
        seconds: float = 0,
        **arguments: Any,
    ) -> Any:
        """The answer to a request about an address; of one that is a `stream`, its beginning.

        Raises:
            CytoTableError: see `objects.Client`.
        """
        conditional = "ifGenerationMatch" in arguments.get("params", {})
        request = partial(self._request, method, f"{self._base}{path}", **arguments)
        with errors_of(uri, writing=writing):
            answer = answered(request, uri, seconds or self._patience.seconds, writing=writing)
        if answer.status_code >= 400:
            said, message = _said(answer)
            status = answer.status_code
            raise refusal(uri, said, status, _REMEDIES, message=message, writing=writing, conditional=conditional)
        if not 200 <= answer.status_code < 300:
            raise senseless(uri, f"status {answer.status_code}", writing=writing, store=STORE)
        return answer

    def json(self, method: str, uri: str, path: str, *, writing: bool = False, **arguments: Any) -> dict[str, Any]:
        """An answer that is a JSON object."""
        answer = self.call(method, uri, path, writing=writing, **arguments)
        with suppress(ValueError):
            if isinstance(found := answer.json(), dict):
                return found
        raise senseless(uri, "it is no JSON", writing=writing, store=STORE)

    def _request(self, method: str, url: str, **arguments: Any) -> Any:
        answer = repeated(
            lambda: self._http.request(
                method, url, timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=False, **arguments
            ),
            self._patience.attempts,
            _may_pass,
        )
        with suppress(ValueError, LookupError, TypeError):
            self.ahead = parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()
        return answer


def _may_pass(found: Any) -> bool:
    from requests import ConnectionError, Timeout
    from requests.exceptions import ChunkedEncodingError

    if isinstance(found, Exception):
        return isinstance(found, ConnectionError | Timeout | ChunkedEncodingError)
    if passes := found.status_code in PASSING:
        found.close()
    return passes


@contextmanager
def errors_of(address: str, *, writing: bool = False) -> Iterator[None]:
    """Errors of the way to the store as ours. What the library raised is left out of them."""
    from google.auth.exceptions import GoogleAuthError, InvalidOperation, TransportError
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except CytoTableError:
        raise
    except (TransportError, RequestException, HTTPError) as error:
        raise unreachable(address, error, writing=writing) from None
    except InvalidOperation:  # without credentials, which it wants to renew
        raise SourceAccessError(
            f"{address}: no credentials were found, and the store refuses without; pass application_credentials=... or "
            f"set {_VARIABLE}"
        ) from None
    except GoogleAuthError as error:
        remedy = _REMEDIES.to_write if writing else _REMEDIES.to_read
        said = brief(error.args[0] if error.args else error)
        raise SourceAccessError(f"{address}: the credentials are refused ({said}); {remedy}") from None
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise senseless(address, error, writing=writing, store=STORE) from None


def _said(answer: Any) -> tuple[str, str]:
    """What is said in an answer that refuses: in short, and the store's message."""
    reason, message = "", ""
    with suppress(ValueError, LookupError, TypeError, AttributeError):
        error = answer.json()["error"]
        message = str(error["message"])
        reason = str(error["errors"][0]["reason"])
    return f"{answer.status_code}{f' {brief(reason)}' if reason else ''}", message or str(answer.reason)


@dataclass(frozen=True)
class Envelope:
    """What is said of an object and its content, as one body that is sent in blocks, again where it has to be."""

    said: bytes
    content: memoryview

    @cached_property
    def boundary(self) -> str:
        # Not in the content, but for one in 2 ** 128.
        return hashlib.md5(self.said, usedforsecurity=False).hexdigest()

    @cached_property
    def _ends(self) -> tuple[bytes, bytes]:
        kinds = b"application/json; charset=UTF-8", b"application/octet-stream"
        limit = f"--{self.boundary}".encode()
        head = [limit, b"\r\nContent-Type: ", kinds[0], b"\r\n\r\n", self.said, b"\r\n", limit]
        return b"".join([*head, b"\r\nContent-Type: ", kinds[1], b"\r\n\r\n"]), b"\r\n" + limit + b"--\r\n"

    def __len__(self) -> int:
        return len(self._ends[0]) + self.content.nbytes + len(self._ends[1])

    def __iter__(self) -> Iterator[bytes]:
        yield self._ends[0]
        for at in range(0, self.content.nbytes, _BLOCK):
            yield bytes(self.content[at : at + _BLOCK])
        yield self._ends[1]
