"""`load_data.csv`, from which CellProfiler was told its images: files by plate, well and site."""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cytotable_dagster.core.errors import CytoTableError, OptionError
from cytotable_dagster.core.images.image import Image, Value
from cytotable_dagster.core.images.paths import joined, plain
from cytotable_dagster.core.images.tables import channels_in, text_of
from cytotable_dagster.core.intake.cache import fetch
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.model.types import Plate
from cytotable_dagster.core.storage.address import is_remote
from cytotable_dagster.core.storage.store import Store

Place = tuple[str, str, str]
_GZIP = b"\x1f\x8b"

NAMES = tuple(
    f"load_data{illumination}.{ending}"
    for ending in ("parquet", "csv.gz", "csv")
    for illumination in ("_with_illum", "")
)
_PLATE = ("Metadata_Plate", "Metadata_Barcode")
_WELL, _SITE = ("Metadata_Well",), ("Metadata_Site", "Metadata_Field", "Metadata_FieldID")
_WELL_NAME = re.compile(r"([A-Za-z]{1,2})0*(\d+)")
# .../workspace/backend/<batch>/<plate>/<plate>.sqlite, .../workspace/analysis/<batch>/<plate>/analysis/
_GALLERY = re.compile(r"(.*/workspace)/(?:backend|analysis)/([^/]+)/([^/]+)/.*")


@dataclass(frozen=True)
class LoadData:
    """What a load_data file says: files of each place and channel. A place is (plate, well, site), plate `` where the
    file names none."""

    uri: str
    files: Mapping[Place, Mapping[tuple[str, str], tuple[str, ...]]]
    names_plates: bool

    def of(self, image: Image) -> Mapping[tuple[str, str], tuple[str, ...]]:
        """The addresses of an image's files, by kind and channel; several where the file contradicts itself."""
        place = place_of(image.plate, image.well, image.site)
        return self.files.get(place if self.names_plates else ("", *place[1:]), {})


def read_load_data(uri: str, cache: Cache) -> LoadData:
    """A load_data file: `.csv`, `.csv.gz` or `.parquet`, local or in a store.

    Raises:
        OptionError: it is none, or does not say which well and site its files are of.
        SourceNotFoundError, SourceAccessError, DownloadError: it cannot be had.
    """
    columns, rows = _read(fetch(Plate("load_data", uri), cache).path, uri)
    channels = channels_in(columns)
    plate, well, site = (_first(columns, names) for names in (_PLATE, _WELL, _SITE))
    if not channels or well is None or site is None:
        raise OptionError(
            f"load_data {uri}: FileName_ columns, Metadata_Well and Metadata_Site are expected; "
            f"it has {', '.join(columns[:6]) or 'none'}"
        )
    files: dict[Place, dict[tuple[str, str], tuple[str, ...]]] = {}
    for row in rows:
        place = place_of(row[plate] if plate else "", row[well], row[site])
        found = files.setdefault(place, {})
        for channel in channels:
            address = _address({what: text_of(row[column]) for what, column in channel.columns.items()})
            known = found.get((channel.kind, channel.channel), ())
            if address and address not in known:
                found[channel.kind, channel.channel] = (*known, address)
    return LoadData(uri, files, plate is not None)


def beside(source_uri: str, store: Store) -> str | None:
    """The load_data file that the Cell Painting Gallery's layout has for a plate in a store; None where there is
    none."""
    match = _GALLERY.fullmatch(source_uri)
    if match is None or not is_remote(source_uri):
        return None
    folder = f"{match[1]}/load_data_csv/{match[2]}/{match[3]}/"
    try:
        there = set(store.names_in(folder))
    except CytoTableError:
        # What is merely looked for need not be open to everyone.
        return None
    return next((folder + name for name in NAMES if folder + name in there), None)


def place_of(plate: Value, well: Value, site: Value) -> Place:
    """Plate, well and site in one spelling: `A01` and `a1`, `1`, `01` and `1.0` are the same."""
    text = str(well or "").strip()
    match = _WELL_NAME.fullmatch(text)
    return (
        str("" if plate is None else plate).strip(),
        f"{match[1].upper()}{match[2]}" if match else text,
        _number(site),
    )


def _number(value: Value) -> str:
    """A number that is whole as such, anything else as it is."""
    text = str("" if value is None else value).strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text


def _address(found: Mapping[str, str | None]) -> str | None:
    url = found.get("url")
    return plain(url) if url else joined(found.get("path"), found.get("file"))


def _first(columns: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in columns), None)


def _read(path: Path, uri: str) -> tuple[Sequence[str], Iterator[Mapping[str, Value]]]:
    """The names of a file's columns, and its rows one by one.

    Raises:
        OptionError: it cannot be read; of rows, when they are come to.
    """
    name = uri.lower()
    if not name.endswith((".parquet", ".csv", ".csv.gz")):
        raise OptionError(f"load_data {uri}: a .csv, .csv.gz or .parquet file is expected")
    lines = _reported(_parquet_rows(path) if name.endswith(".parquet") else _csv_rows(path), uri)
    columns = [str(column) for column in next(lines, ())]
    return columns, (dict(zip(columns, line, strict=True)) for line in lines)


def _reported(rows: Iterator[Sequence[Value]], uri: str) -> Iterator[Sequence[Value]]:
    import pyarrow as pa

    try:
        yield from rows
    except (pa.ArrowException, csv.Error, ValueError, EOFError, zlib.error, OSError) as error:
        raise OptionError(f"load_data {uri}: cannot be read ({str(error).splitlines()[0]})") from error


def _parquet_rows(path: Path) -> Iterator[Sequence[Value]]:
    """The names of the columns, then the rows."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield file.schema_arrow.names
        for batch in file.iter_batches():
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _csv_rows(path: Path) -> Iterator[Sequence[Value]]:
    """The same of CSV, packed or not; fields without anything are None, and so are those that a row ends before."""
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    opened = gzip.open if packed else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines)
        columns = next(reader, [])
        yield columns
        for row in reader:
            if len(row) > len(columns):
                raise ValueError(f"line {reader.line_num} has {len(row)} fields, the first {len(columns)}")
            if row:
                yield [*(field or None for field in row), *[None] * (len(columns) - len(row))]
