"""What is measured of stores in a process of its own; see `tasks`."""

from typing import Any

from benchmarks.clock import Clock


def fetch(uri: str, again: int = 0, **options: Any) -> dict[str, Any]:
    """A plate of a store into an empty cache, and so many times more from there: `cpu_again` is the least of these.

    Args:
        options: of the store's client, and `local_cache_dir`.
    """
    import pyarrow  # noqa: F401  (what convert() brings with it)

    from cytotable_dagster.core.intake.cache import fetch
    from cytotable_dagster.core.intake.cache_place import Cache
    from cytotable_dagster.core.model.types import Plate

    clock = Clock()
    # Which makes clients' libraries be imported, as in `convert()`.
    cache = Cache.checked(options)
    source = fetch(Plate("P1", uri), cache)
    seconds, cpu = clock.read()
    times = []
    for _ in range(again):
        clock = Clock()
        fetch(Plate("P1", uri), cache)
        times.append(clock.read())
    return {
        "seconds": seconds,
        "cpu": cpu,
        "size": source.size,
        "files": len(source.state),
        "again": min((wall for wall, _ in times), default=0.0),
        "cpu_again": min((cpu for _, cpu in times), default=0.0),
    }
