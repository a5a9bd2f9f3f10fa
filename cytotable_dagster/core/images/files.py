"""The files of each image's channels: as a provenance says, or as single cells name them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import CytoTableError, OptionError, SourceNotFoundError
from cytotable_dagster.core.images.cells import CellTable, distinct_images
from cytotable_dagster.core.images.image import (
    IMAGE,
    MASK,
    OUTLINE,
    PLATE,
    SITE,
    USABLE,
    WELL,
    Image,
    Recorded,
    Value,
)
from cytotable_dagster.core.images.provenance import FILE
from cytotable_dagster.core.images.resolve import resolved
from cytotable_dagster.core.images.search import Search
from cytotable_dagster.core.images.tables import ChannelColumns, channels_in, images_in
from cytotable_dagster.core.storage.address import is_remote
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster.core.support.suggestions import there_are

if TYPE_CHECKING:
    import pyarrow as pa

Key = tuple[Value, ...]


@dataclass(frozen=True)
class File:
    """Where a channel's file is; or, in `problem`, why it cannot be used."""

    uri: str | None
    problem: str | None = None


@dataclass(frozen=True)
class ImageFiles:
    """`keys` are the columns that single cells and this have in common; `files` has for each of their values the files
    by channel, and so `segmentations` masks and outlines."""

    keys: tuple[str, ...]
    files: Mapping[Key, Mapping[str, File]]
    segmentations: Mapping[Key, Mapping[str, File]]

    def channels(self) -> tuple[str, ...]:
        return _names(self.files.values())

    def chosen(self, wanted: Sequence[str] | str | None) -> tuple[str, ...]:
        """Channels by name, `DNA` for `OrigDNA` too; all where none is named.

        Raises:
            OptionError: there is none of that name.
        """
        return _chosen(self.channels(), wanted, "channels")

    def chosen_segmentations(self, wanted: Sequence[str] | str | None) -> tuple[str, ...]:
        """The same of masks and outlines; none where none is named."""
        return () if wanted is None else _chosen(_names(self.segmentations.values()), wanted, "segmentations")


def image_files(table: CellTable, provenance: "str | Path | None", search: Search | None) -> ImageFiles:
    """The files of a table's images.

    Args:
        provenance: a Parquet file; None is that beside the table, or if there is none what the table's own columns say.
        search: where the files are that the table's own columns name; None is that nobody said.

    Raises:
        OptionError, SourceNotFoundError: there is no such file; neither it nor the table names images.
    """
    found = None
    if provenance is not None:
        found = _read(str(provenance), (search or Search()).cache.store)
    elif search is None or not search.says_where:
        found = _beside(table, (search or Search()).cache.store)
    if found is None:
        return _of_cells(table, search or Search())
    keys = tuple(key for key in table.keys if key in found.column_names)
    # Where a table has several plates, their images may have the same numbers.
    plate = table.places.get(PLATE)
    if not keys:
        raise OptionError(f"provenance of {table.address}: none of its columns is a key of the cells' images")
    values = found.to_pydict()
    by = [*keys, *([plate] if plate == PLATE else [])]
    rows = zip(*(values[name] for name in (*by, "channel", "kind", "uri", "status", "detail")), strict=True)
    return _collected(tuple(by), ((row[: len(by)], *row[len(by) :]) for row in rows))


def _beside(table: CellTable, store: Store) -> "pa.Table | None":
    folder = table.address.rstrip("/").rpartition("/")[0] if is_remote(table.address) else str(table.path.parent)
    try:
        return _read(f"{folder}/{FILE}", store)
    except SourceNotFoundError:
        return None


def _read(address: str, store: Store) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder, _, name = address.rpartition("/")
    try:
        with destination_of(folder or ".", store).open(name) as file:
            return pq.read_table(file, use_threads=False)
    except CytoTableError:
        raise
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"{address}: no such provenance; make it with provenance=True") from error
    except (OSError, pa.ArrowInvalid) as error:
        raise OptionError(f"{address}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error


def _of_cells(table: CellTable, search: Search) -> ImageFiles:
    _, found = images_of_cells(table, search)
    return _collected(table.keys, ((i.keys, i.channel, i.kind, i.uri, i.status, i.detail) for i in found))


def images_of_cells(table: CellTable, search: Search) -> tuple[tuple[ChannelColumns, ...], list[Image]]:
    """The columns of single cells that name files, and those files.

    Raises:
        OptionError: there are no such columns.
    """
    import pyarrow as pa

    names = {name.removeprefix("Metadata_"): name for name in table.columns if name.startswith("Image_")}
    channels = channels_in(names)
    if not channels:
        raise OptionError(
            f"{table.address}: no provenance lies beside it ({FILE}), and no Image_FileName_ column names images; "
            "convert with provenance=True, or name such a file with provenance="
        )
    columns = [column for channel in channels for column in channel.columns.values()]
    values = distinct_images(table, columns).to_pydict()
    count = len(values[table.keys[0]])
    places = {place: table.places.get(place) for place in (PLATE, WELL, SITE)}
    source = Path(table.address).stem
    sites, images = images_in(values, count, table.keys, places, channels, {name: name for name in columns}, source)
    text = pa.string()
    recorded = Recorded(source, tuple(sites), tuple(images), (), text, text, text)
    # Beside the table is not beside the images.
    return channels, resolved(recorded, f"{table.path}", search)


def file_of(image: Image) -> File:
    return _file(image.channel, image.uri, image.status, image.detail)


def _file(channel: str, uri: str | None, status: str | None, detail: str | None) -> File:
    usable = uri is not None and (status is None or status in USABLE)
    return File(uri, None if usable else detail or f"{channel}: {status or 'its file is not known'}")


def _collected(keys: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> ImageFiles:
    files: dict[Key, dict[str, File]] = {}
    others: dict[Key, dict[str, File]] = {}
    for key, channel, kind, uri, status, detail in rows:
        own = files if kind == IMAGE else others if kind in (MASK, OUTLINE) else None
        if own is not None:
            own.setdefault(tuple(key), {})[channel] = _file(channel, uri, status, detail)
    return ImageFiles(keys, files, others)


def _names(files: Iterable[Mapping[str, File]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(channel for own in files for channel in own))


def _chosen(there: Sequence[str], wanted: Sequence[str] | str | None, option: str) -> tuple[str, ...]:
    if wanted is None:
        return tuple(there)
    asked = [wanted] if isinstance(wanted, str) else list(wanted)
    found = []
    for name in asked:
        fitting = [one for one in there if name.lower() in (one.lower(), one.lower().removeprefix("orig"))]
        if len(fitting) != 1:
            raise OptionError(f"{option}: there is no {name!r}; {there_are(name, there)}")
        found += fitting
    if not found:
        raise OptionError(f"{option} names none; there are: {', '.join(there) or 'none'}")
    return tuple(dict.fromkeys(found))
