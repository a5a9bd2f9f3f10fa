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
    Recorded,
    Value,
)
from cytotable_dagster.core.images.provenance import FILE
from cytotable_dagster.core.images.resolve import resolved
from cytotable_dagster.core.images.search import Search
from cytotable_dagster.core.images.tables import channels_in, images_in
from cytotable_dagster.core.storage.client import is_remote
from cytotable_dagster.core.storage.store_destination import destination_of

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
        found = _read(str(provenance), search.cloud if search else {})
    elif search is None or not _says_where(search):
        found = _beside(table, search.cloud if search else {})
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


def _says_where(search: Search) -> bool:
    return any((search.image_dir, search.rules, search.load_data))


def _beside(table: CellTable, cloud: Mapping[str, Any]) -> "pa.Table | None":
    folder = table.address.rstrip("/").rpartition("/")[0] if is_remote(table.address) else str(table.path.parent)
    try:
        return _read(f"{folder}/{FILE}", cloud)
    except SourceNotFoundError:
        return None


def _read(address: str, cloud: Mapping[str, Any]) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder, _, name = address.rpartition("/")
    try:
        with destination_of(folder or ".", cloud).open(name) as file:
            return pq.read_table(file, use_threads=False)
    except CytoTableError:
        raise
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"{address}: no such provenance; make it with provenance=True") from error
    except (OSError, pa.ArrowInvalid) as error:
        raise OptionError(f"{address}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error


def _of_cells(table: CellTable, search: Search) -> ImageFiles:
    """By the columns of single cells that name files."""
    import pyarrow as pa

    names = {name.removeprefix("Metadata_"): name for name in table.columns if name.startswith("Image_")}
    channels = channels_in(names)
    if not channels:
        raise OptionError(
            f"{table.address}: no provenance lies beside it ({FILE}), and no Image_FileName_ column names images; "
            "convert with provenance=True, or give provenance="
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
    found = resolved(recorded, f"{table.path}", search)
    return _collected(table.keys, ((i.keys, i.channel, i.kind, i.uri, i.status, i.detail) for i in found))


def _collected(keys: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> ImageFiles:
    files: dict[Key, dict[str, File]] = {}
    others: dict[Key, dict[str, File]] = {}
    for key, channel, kind, uri, status, detail in rows:
        usable = uri is not None and (status is None or status in USABLE)
        problem = None if usable else detail or f"{channel}: {status or 'its file is not known'}"
        own = files if kind == IMAGE else others if kind in (MASK, OUTLINE) else None
        if own is not None:
            own.setdefault(tuple(key), {})[channel] = File(uri, problem)
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
            raise OptionError(f"{option}: there is no {name!r}; there are: {', '.join(there) or 'none'}")
        found += fitting
    if not found:
        raise OptionError(f"{option} names none; there are: {', '.join(there) or 'none'}")
    return tuple(dict.fromkeys(found))
