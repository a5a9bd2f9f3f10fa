"""A prefix of a store as a place for results; see `destination`."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cytotable_dagster.core.errors import DestinationInUseError, OptionError
from cytotable_dagster.core.storage.address import check_store, is_remote, scheme_of
from cytotable_dagster.core.storage.destination import Claim, Destination, Results
from cytotable_dagster.core.storage.local_destination import LocalDestination
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_lock import StoreLock, held
from cytotable_dagster.core.storage.store_prefix import Prefix
from cytotable_dagster.core.storage.store_publication import HIDDEN, StoreResults, hidden, undo
from cytotable_dagster.core.support.leftovers import sweep_temporary, temporary_folder
from cytotable_dagster.core.support.written_paths import expanded


def destination_of(address: str | Path, store: Store) -> Destination:
    """The folder or prefix of a store at an address.

    Args:
        address: a path, or a prefix such as `gs://bucket/prefix`.
        store: how it is spoken to where it is one of a store.

    Raises:
        OptionError: another store's address, one without a bucket, or a variable in it that is not set.
    """
    root = expanded(address)
    if not is_remote(root):
        return LocalDestination(Path(root).absolute())
    check_store(root)
    scheme = scheme_of(root)
    if not root.removeprefix(f"{scheme}://").strip("/"):
        raise OptionError(f"{address}: results go to files of this machine or to {scheme}://bucket/prefix")
    return StoreDestination(root.rstrip("/"), store)


@dataclass(frozen=True)
class StoreDestination(Prefix, Destination):
    """A prefix that results are put into."""

    def put_from(self, place: Destination, file: str, name: str) -> None:
        if isinstance(place, StoreDestination) and self._is_same_store(place):
            self.client.copy(place.address(file), self.address(name))
        else:
            super().put_from(place, file, name)

    def _is_same_store(self, place: "StoreDestination") -> bool:
        return place.store == self.store and scheme_of(place.root) == scheme_of(self.root)

    @contextmanager
    def writing(self, name: str = "", wait: float | None = None, *, file_by_file: bool = False) -> Iterator[Claim]:
        lock = StoreLock(self.client, self.address(f"{hidden(name)}/writing"), self.address(name))
        sweep_temporary()
        with held(lock, wait):
            undo(self, hidden(name))
            yield Claim(name, lock.check, lock.conditional)

    @contextmanager
    def together(self, scratch: Path, claim: Claim, *, overwrite: bool) -> Iterator[Results]:
        results = StoreResults(self, claim)
        try:
            yield results
            results.publish(overwrite=overwrite)
        except BaseException:
            results.abort()
            raise

    def sweep(self) -> None:
        if self.there(HIDDEN):
            with suppress(DestinationInUseError), self.writing(wait=-1):
                pass

    def scratch(self) -> AbstractContextManager[Path]:
        return temporary_folder("results")
