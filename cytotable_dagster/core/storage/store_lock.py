"""One writer at a time of a prefix of a store, by an object that is there while it is written to.

The object is made on condition that there is none (`If-None-Match`), and made anew every few seconds. Who finds it
watches it: one that does not change for a while is that of a process that is gone, as is one of a process of this
machine that is no more; it is taken over on condition that it is still the same (`If-Match`). No clocks are compared.

A store that knows no conditions gets none; then whoever wrote last has the prefix, and the other finds that out before
it publishes, but for requests at the same moment.
"""

import io
import json
import os
import platform
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from cytotable_dagster.core.errors import (
    CytoTableError,
    DestinationExistsError,
    DestinationInUseError,
    SourceNotFoundError,
    UploadError,
)
from cytotable_dagster.core.storage.objects import Client, ConditionsUnknownError, answered
from cytotable_dagster.core.support import locks
from cytotable_dagster.core.support.locks import in_use, machine
from cytotable_dagster.core.support.patience import within

# Seconds between signs of life, after how many without one a writer is gone, and between looks at it.
_BEAT, _GONE, _POLL = 20.0, 90.0, 1.0
# Seconds to take back a lock whose putting failed, in a store that may not answer at all.
_FAREWELL = 5.0
_FREE = "free"


class StoreLock:
    """An object, while it is this process's: of who writes to `what`, which errors are about."""

    def __init__(self, client: Client, uri: str, what: str) -> None:
        self._client = client
        self._uri = uri
        self._what = what
        self._token = secrets.token_hex(8)
        self._beats = 0
        self._etag = ""
        self.conditional = True

    def check(self) -> None:
        """Raises DestinationInUseError: another process has taken over, as this one gave no sign of life."""
        found = self._look()
        if found is None or found[0].get("token") != self._token:
            raise DestinationInUseError(in_use(self._what, _who(found[0] if found else {})))

    def take(self, wait: float) -> None:
        """Wait until nobody else has it; not at all where `wait` is negative.

        Raises:
            DestinationInUseError: somebody has, and gave signs of life, for so many seconds.
        """
        started = time.monotonic()
        seen, since, alive = "", started, False
        while not self._put(None):
            found = self._look()
            if found is not None:
                said, etag = found
                if etag != seen:
                    alive = alive or bool(seen)
                    seen, since = etag, time.monotonic()
                if (_is_gone(said) or time.monotonic() - since >= _GONE) and self._put(etag):
                    return
                if wait < 0 or (alive and time.monotonic() - started >= wait):
                    raise DestinationInUseError(in_use(self._what, _who(said)))
            time.sleep(_POLL)

    def beat(self) -> None:
        """Give a sign of life; nothing where it is another's, which `check` will tell."""
        with suppress(CytoTableError):
            self._put(self._etag)

    def release(self) -> None:
        with suppress(CytoTableError):
            self.check()
            try:
                with self._errors():
                    self._client.remove(self._uri)
            except CytoTableError:  # whoever may write may still not be allowed to remove
                self._token = _FREE
                self._put(self._etag)

    def _put(self, etag: str | None) -> bool:
        """Make the object in place of the one of this ETag, or of none; whether that was still so."""
        self._beats += 1
        process, node = os.getpid(), platform.node()
        said = {"token": self._token, "process": process, "started": _started(process), "space": _space(), "on": node}
        body = io.BytesIO()
        body.write(json.dumps({**said, "beat": self._beats}).encode())
        if not self.conditional:
            found = self._look()
            if (found[1] if found else None) != etag:
                return False
        try:
            with self._errors():
                self._etag = self._client.put(self._uri, body, only_if=(etag or "") if self.conditional else None)
        except DestinationExistsError:
            return self._is_ours()
        except ConditionsUnknownError:
            self.conditional = False
            return self._put(etag)
        return True

    def _is_ours(self) -> bool:
        """Whether the object is there all the same: put by an attempt whose answer did not arrive."""
        found = self._look()
        if found is None or found[0].get("token") != self._token:
            return False
        self._etag = found[1]
        return True

    def _look(self) -> tuple[dict[str, Any], str] | None:
        """What the object says, and its ETag; None where there is none."""

        def read() -> tuple[bytes, str]:
            with self._client.read(self._uri, writing=True) as body:
                return b"".join(body.blocks), body.said.etag

        with suppress(SourceNotFoundError), self._errors():
            content, etag = answered(read, self._uri, self._client.patience.seconds, writing=True)
            said = {}
            with suppress(ValueError):
                said = json.loads(content)
            return said if isinstance(said, dict) else {}, etag
        return None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors are about what is written to, and not about something hidden."""
        try:
            yield
        except CytoTableError as error:
            raise type(error)(str(error).replace(self._uri, self._what)) from None


@contextmanager
def held(lock: StoreLock, wait: float | None = None) -> Iterator[None]:
    """Hold a lock, with signs of life, while the block lasts."""
    try:
        lock.take(locks.WAIT if wait is None else wait)
    except UploadError:
        # What was put and badly answered would hold up the next one.
        with suppress(TimeoutError):
            within(_FAREWELL, lock.release)
        raise
    over = Event()

    def beat() -> None:
        while not over.wait(_BEAT):
            lock.beat()

    beating = Thread(target=beat, daemon=True, name="sign of life")
    beating.start()
    try:
        yield
    finally:
        over.set()
        beating.join()
        lock.release()


def _is_gone(said: "dict[str, Any]") -> bool:
    """Whether an object is that of nobody, or of a process of this machine that is no more."""
    if said.get("token") == _FREE:
        return True
    process = said.get("process")
    if not said.get("space") or said["space"] != _space() or not isinstance(process, int):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:  # another user's
        return False
    # The number may be another process's by now.
    return _started(process) != said.get("started")


def _started(process: int) -> str | None:
    """When a process was started, in ticks since the machine was."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    return None


def _space() -> str | None:
    """What process numbers are numbers in: this machine, and what it shows to a container; None where unknown."""
    with suppress(OSError):
        return f"{machine()} {Path('/proc/self/ns/pid').readlink()}"
    return None


def _who(said: "dict[str, Any]") -> str:
    return f"process {said['process']} on {said.get('on')}" if said.get("process") else "nobody said which"
