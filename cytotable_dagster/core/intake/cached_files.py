"""Many files of one plate into the cache at once. Each is known again by itself where the rest did not come."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

from cytotable_dagster.core.intake.cache_records import Record, Records
from cytotable_dagster.core.intake.cached_file import Bring, download_kept, in_memory, in_ranges
from cytotable_dagster.core.storage.download import RANGE_BYTES, RANGES_AT_ONCE, Watch
from cytotable_dagster.core.storage.objects import REQUESTS_AT_ONCE, Client, Remote
from cytotable_dagster.core.support.files import whole_file_by_way_of
from cytotable_dagster.core.support.leftovers import owned_folder
from cytotable_dagster.core.support.patience import waited_for
from cytotable_dagster.core.support.telling import DOWNLOADING, Tally

# What goes through memory, at most as often as there are requests at once.
_SMALL = 1 << 20

Keep = Callable[[Path, Bring], Record]


def download_all(client: Client, files: Mapping[Path, Remote], folder: Path, records: Records) -> dict[Path, Record]:
    """Download objects, and keep them at these paths, which are below a plate's folder: by one request for each that is
    no larger than a range, and as many requests at once as a client makes.

    Args:
        files: as a listing has them.
        records: where what is known of each is kept.

    Raises:
        CytoTableError: of the first that does not come, see `download_kept`; what came before stays.
    """
    tally = Tally(DOWNLOADING, sum(remote.size for remote in files.values()))
    if not files:
        return {}
    for parent in {local.parent for local in files}:
        parent.mkdir(parents=True, exist_ok=True)
    small = [local for local, remote in files.items() if remote.size <= _SMALL]
    large = [local for local, remote in files.items() if remote.size > _SMALL]
    with owned_folder(folder.parent, folder.name) as aside:
        writing = partial(whole_file_by_way_of, aside)

        def keep(local: Path, bring: Bring) -> Record:
            remote = files[local]
            # What comes in one answer is described by it.
            described = client.head(remote.uri) if remote.size > RANGE_BYTES else remote
            return download_kept(client, described, local, tally, records, bring, writing)

        return {**_small(client, small, keep, Watch(folder.name, tally)), **_large(client, large, keep, tally)}


def _large(client: Client, files: list[Path], keep: Keep, tally: Tally) -> dict[Path, Record]:
    """One thread for each at once, which waits for those that fetch its ranges."""
    at_once = max(1, min(len(files), REQUESTS_AT_ONCE))
    bring = in_ranges(client, tally, min(REQUESTS_AT_ONCE // at_once, RANGES_AT_ONCE))
    with ThreadPoolExecutor(at_once) as pool:
        try:
            return dict(zip(files, pool.map(lambda local: keep(local, bring), files), strict=True))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _small(client: Client, files: list[Path], keep: Keep, watch: Watch) -> dict[Path, Record]:
    """Threads that go from one to the next and are watched together, as a thread for each costs as much as the rest."""
    waiting: SimpleQueue[Path] = SimpleQueue()
    for local in files:
        waiting.put(local)
    records: dict[Path, Record] = {}
    bring = in_memory(client, watch)

    def work() -> None:
        waited_for()
        try:
            while not watch.over.is_set():
                local = waiting.get_nowait()
                records[local] = keep(local, bring)
                watch.ended.put(None)
        except Empty:
            return
        except BaseException as error:
            watch.ended.put(error)

    # Daemons, for one that waits for a store that has gone silent is left to itself.
    for _ in range(min(len(files), REQUESTS_AT_ONCE)):
        threading.Thread(target=work, daemon=True).start()
    watch.wait_for(len(files))
    return records
