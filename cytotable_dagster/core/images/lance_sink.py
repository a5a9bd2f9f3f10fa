"""Crops as a Lance dataset: an image after the other, and there under its name when it is whole.

What a killed process made is gone on with, image by image, where the same crops are asked for. On this machine the
dataset is made beside its place. In a store its files are put where they belong, and become a dataset by the last one,
which names them.
"""

import hashlib
import json
import posixpath
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.images.cells import ROW
from cytotable_dagster.core.images.cropping import BATCH, Crops
from cytotable_dagster.core.images.lance_place import VERSIONS, errors_of_lance, lance, uri_of
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.planning.options import check_flag
from cytotable_dagster.core.storage.destination import Claim
from cytotable_dagster.core.storage.store_destination import StoreDestination, destination_of
from cytotable_dagster.core.support.arguments import address_in, function_in, number_in
from cytotable_dagster.core.support.machine_errors import errors_of_machine
from cytotable_dagster.core.support.publication import exists_already
from cytotable_dagster.core.support.telling import Progress, tell, watched
from cytotable_dagster.core.support.written_paths import expanded

if TYPE_CHECKING:
    import pyarrow as pa

ENDING = ".lance"
_MARK = b"cytotable_dagster:crops"
# Crops of one version of the dataset, after which what is made is kept; at the end of an image.
_KEPT = 4096


@errors_of_machine()
def save_crops(
    made: Crops,
    path: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    keep: int = _KEPT,
    **cloud: Any,
) -> Path:
    """Write crops as a Lance dataset, a folder or prefix that ends in `.lance`.

    Args:
        progress: called with `crops`, those done and those in all.
        keep: crops after which what is made outlives the process.
        cloud: what the store's client takes that writes; none is what the one that reads images takes.

    Raises:
        OptionError: another ending; the lance package is not installed.
        DestinationExistsError: it is there, without `overwrite`.
        SourceAccessError, UploadError: the store refuses, or fails.
    """
    if not isinstance(made, Crops):
        raise OptionError(f"made {made!r:.80}: give what crops() gave")
    check_flag("overwrite", overwrite)
    function_in("progress", progress, "(step, done, total)")
    keep = number_in("keep", keep, "crops")
    folder, name = posixpath.split(expanded(address_in("path", path)).rstrip("/"))
    if not name.endswith(ENDING) or name == ENDING:
        raise OptionError(f"{path}: crops go to a folder or prefix whose name ends in {ENDING}")
    lance()
    place = destination_of(folder, made.cache.store.to_write(cloud or None))
    begun = Cache.checked({"local_cache_dir": made.cache.folder, **cloud}).folder.parent / "crops"
    schema = made.schema.with_metadata({**(made.schema.metadata or {}), _MARK: _mark(made).encode()})

    with watched(progress), place.writing(name) as claim:
        # In a store files may lie there that are no dataset yet.
        there = f"{name}/{VERSIONS}" if isinstance(place, StoreDestination) else name
        if place.exists(there) and not overwrite:
            raise exists_already(place.address(name))
        if isinstance(place, StoreDestination):
            _in_store(made, place, claim, schema, begun, keep)
        else:
            _beside(made, Path(place.address(name)), schema, keep)
    return place.path(name)


def _beside(made: Crops, target: Path, schema: "pa.Schema", keep: int) -> None:
    """Make a dataset beside its place, and put it there."""
    partial = target.with_name(f".{target.name}.partial")
    done = _done(partial, schema.metadata[_MARK])
    tell("crops", len(done), len(made))
    stream = _Stream(made, schema, frozenset(done), keep)
    while not stream.over:
        with stream.errors(str(target)):
            lance().write_dataset(stream.reader(), str(partial), mode="append" if partial.is_dir() else "create")
        tell("crops", len(done) + stream.count, len(made))
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _done(partial: Path, mark: bytes) -> set[int]:
    """The cells that a process before this one made; none, and nothing left of them, where it made other crops."""
    if not partial.is_dir():
        return set()
    try:
        dataset = lance().dataset(str(partial))
        if (dataset.schema.metadata or {}).get(_MARK) == mark:
            return set(dataset.to_table(columns=[ROW])[ROW].to_pylist())
    except (ValueError, OSError):
        pass
    shutil.rmtree(partial)
    return set()


def _in_store(
    made: Crops,
    place: StoreDestination,
    claim: Claim,
    schema: "pa.Schema",
    begun: Path,
    keep: int,
) -> None:
    """Put the files of a dataset into a store and commit them together; files of another one there are removed.
    What is there already stands in a file in `begun`."""
    from datetime import timedelta

    from lance.fragment import FragmentMetadata, write_fragments

    name = claim.name
    address = place.address(name)
    uri = uri_of(address)

    def access() -> dict[str, str]:
        # Credentials may have changed since the share before.
        return place.store.client(address).storage_options()

    mark = hashlib.sha256(schema.metadata[_MARK] + address.encode()).hexdigest()[:16]
    notes = begun / f"{mark}.jsonl"
    shares = _noted(notes, {file.name.rpartition("/")[2] for file in place.list(f"{name}/data")})
    done = sum(share["crops"] for share in shares)
    tell("crops", done, len(made))
    stream = _Stream(made, schema, frozenset(made.cells[ROW][:done].to_pylist()), keep)
    mode = "overwrite" if place.exists(f"{name}/{VERSIONS}") else "create"
    notes.parent.mkdir(parents=True, exist_ok=True)
    with notes.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(share)}\n" for share in shares)
        while not stream.over:
            before = stream.count
            with stream.errors(address):
                found = write_fragments(stream.reader(), uri, mode=mode, storage_options=access())
            shares.append({"crops": stream.count - before, "fragments": [fragment.to_json() for fragment in found]})
            file.write(f"{json.dumps(shares[-1])}\n")
            file.flush()
            tell("crops", done + stream.count, len(made))
    fragments = [FragmentMetadata.from_json(json.dumps(own)) for share in shares for own in share["fragments"]]
    claim.check()
    with errors_of_lance(address, writing=True):
        change = lance().LanceOperation.Overwrite(schema, fragments)
        dataset = lance().LanceDataset.commit(uri, change, storage_options=access())
        notes.unlink()
        # No other process writes there.
        dataset.cleanup_old_versions(timedelta(0), delete_unverified=True)


def _noted(notes: Path, there: "set[str]") -> list[dict[str, Any]]:
    """The shares that a process before this one put into the store, and that are there still."""
    shares: list[dict[str, Any]] = []
    with suppress(OSError, ValueError, LookupError, TypeError):
        for line in notes.read_text(encoding="utf-8").splitlines():
            share = json.loads(line)
            if not there.issuperset(file["path"] for own in share["fragments"] for file in own["files"]):
                break
            shares.append(share)
    return shares


class _Stream:
    """The batches of crops, in shares that end with an image."""

    def __init__(self, made: Crops, schema: "pa.Schema", done: "frozenset[int]", keep: int) -> None:
        self.count = 0
        self.over = False
        self._schema = schema
        self._parts = made.parts(BATCH, done)
        self._keep = keep
        self._fault: BaseException | None = None

    def reader(self) -> "pa.RecordBatchReader":
        """The next share."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(self._schema, self._share())

    def _share(self) -> "Iterator[pa.RecordBatch]":
        count = 0
        try:
            for batch, last in self._parts:
                count += batch.num_rows
                self.count += batch.num_rows
                yield batch.replace_schema_metadata(self._schema.metadata)
                if last and count >= self._keep:
                    return
            self.over = True
        except BaseException as error:
            self._fault = error
            raise

    @contextmanager
    def errors(self, address: str) -> Iterator[None]:
        """What stopped the crops comes out as it was, though it went through Lance."""
        try:
            with errors_of_lance(address, writing=True):
                yield
        except BaseException:
            if self._fault is not None and not isinstance(self._fault, GeneratorExit):
                raise self._fault from None
            raise


def _mark(made: Crops) -> str:
    """What tells these crops from others: cells, files and options."""
    facts = made.table.path.stat()
    digest = hashlib.sha256(str((str(made.table.path), facts.st_size, facts.st_mtime_ns)).encode())
    digest.update(made.cells[ROW].to_numpy().tobytes())
    digest.update(repr((made.files, made.channels, made.segmentations, made.size, made.around, made.fit)).encode())
    digest.update(repr((made.dtype, made.crop_type, made.table.where, made.more)).encode())
    return digest.hexdigest()[:16]
