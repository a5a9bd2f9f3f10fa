"""Places where plates arrive, a bucket or a folder, looked at as a scheduler does."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.intake.addresses import Pattern
from cytotable_dagster.core.intake.arrivals import Look, Memory, look
from cytotable_dagster.core.intake.listing import listing
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.demo.s3_server import S3Server, s3_client

if TYPE_CHECKING:
    from cytotable_dagster_tests.conftest import StoreHere

NESTED = "{batch}/{plate}/{plate}.sqlite"
BUCKETS: Iterator[str] = (f"arrivals-{number}" for number in range(10**6))


@dataclass
class Place:
    """Where plates arrive: a bucket, or a folder. `later` moves the clock that a look goes by."""

    root: str
    put: Callable[[str, bytes], None]
    delete: Callable[[str], None]
    cloud: dict[str, Any] = field(default_factory=dict)
    calls: int = 0
    marker: str | None = None

    def look(
        self,
        memory: Memory,
        pattern: str = NESTED,
        *,
        limit: int = 1000,
        seconds: float = 60,
        every: bool = False,
        now: Callable[[], float] = time.time,
    ) -> Look:
        whole = Pattern(self.root + pattern, self.marker)
        with listing(whole, Store.checked(self.cloud)) as source:
            # As a scheduler keeps it.
            seen = look(
                source, whole, Memory.loaded(memory.dumped()), limit=limit, seconds=seconds, every=every, now=now
            )
            self.calls = source.calls
            return seen

    def settled(self, pattern: str = NESTED) -> Memory:
        """The memory after two looks: all that is there has been handled."""
        return self.look(self.look(Memory(), pattern).memory, pattern).memory


def folder(root: Path) -> Place:
    root.mkdir()

    def put(name: str, content: bytes) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return Place(f"{root}/", put, lambda name: (root / name).unlink())


def bucket(server: S3Server, name: str) -> Place:
    client = s3_client(server.endpoint_url)
    client.create_bucket(Bucket=name, ACL="public-read")
    return Place(
        f"s3://{name}/",
        lambda key, content: client.put_object(Bucket=name, Key=key, Body=content, ACL="public-read"),
        lambda key: client.delete_object(Bucket=name, Key=key),
        {"endpoint_url": server.endpoint_url, "no_sign_request": True},
    )


def container(here: "StoreHere", name: str) -> Place:
    """The same in another store."""
    here.server.create_bucket(name)
    return Place(
        f"{here.provider}://{name}/",
        lambda key, content: here.server.put(name, key, content),
        lambda key: here.server.delete(name, key),
        here.options,
    )


def names(seen: Look) -> list[str]:
    return sorted(found.places["plate"] for found in seen.ready)
