"""One text to a webhook of Slack's kind, whose address is a secret: it stands in no message and no log."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cytotable_dagster.core.errors import DownloadError, OptionError

_ATTEMPTS, _SECONDS = 3, 10
# Slack cuts what is longer than 40,000 characters.
_MOST = 20_000


def post(url: str, text: str) -> None:
    """Send a text, trying again when it is not taken. A redirect is not followed: it would take the text elsewhere.

    Raises:
        OptionError: the address is not of a web server.
        DownloadError: it could not be sent.
    """
    import requests

    if not url.lower().startswith(("http://", "https://")):
        raise OptionError("CYTOTABLE_WEBHOOK_URL: no address that begins with https:// or http://")
    reason = ""
    for attempt in range(_ATTEMPTS):
        time.sleep(attempt)
        try:
            with _silent():
                answer = requests.post(url, json={"text": text[:_MOST]}, timeout=_SECONDS, allow_redirects=False)
        except (requests.RequestException, ValueError) as error:
            reason = type(error).__name__
            continue
        if 300 <= answer.status_code < 400:
            reason = f"status {answer.status_code}, a redirect, which is not followed"
            break
        if answer.ok:
            return
        reason = f"status {answer.status_code}"
    # Not from within the handler: the error that is being handled names the address.
    raise DownloadError(f"the webhook took no notice ({reason}); check CYTOTABLE_WEBHOOK_URL")


@contextmanager
def _silent() -> Iterator[None]:
    """At its finest, the log of the HTTP library holds every address: nothing of what this thread asks for."""
    log, own = logging.getLogger("urllib3.connectionpool"), threading.get_ident()

    def others(record: logging.LogRecord) -> bool:
        return record.thread != own

    log.addFilter(others)
    try:
        yield
    finally:
        log.removeFilter(others)
