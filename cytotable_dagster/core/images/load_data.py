"""`load_data.csv`, from which CellProfiler was told its images: files by plate, well and site."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import CytoTableError, OptionError
from cytotable_dagster.core.images.image import Image, Value
from cytotable_dagster.core.images.paths import joined, plain
from cytotable_dagster.core.images.tables import channels_in, text_of
from cytotable_dagster.core.intake.cache import fetch
from cytotable_dagster.core.model.types import Plate
from cytotable_dagster.core.storage.client import is_remote, list_remote

if TYPE_CHECKING:
    import polars as pl

Cloud = Mapping[str, Any]
Place = tuple[str, str, str]

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


def read_load_data(uri: str, cloud: Cloud) -> LoadData:
    """A load_data file: `.csv`, `.csv.gz` or `.parquet`, local or in a store.

    Raises:
        OptionError: it is none, or does not say which well and site its files are of.
        SourceNotFoundError, SourceAccessError, DownloadError: it cannot be had.
    """
    table = _read(fetch(Plate("load_data", uri), cloud).path, uri)
    channels = channels_in(table.columns)
    plate, well, site = (_first(table.columns, names) for names in (_PLATE, _WELL, _SITE))
    if not channels or well is None or site is None:
        raise OptionError(
            f"load_data {uri}: FileName_ columns, Metadata_Well and Metadata_Site are expected; "
            f"it has {', '.join(table.columns[:6]) or 'none'}"
        )
    files: dict[Place, dict[tuple[str, str], tuple[str, ...]]] = {}
    for row in table.iter_rows(named=True):
        place = place_of(row[plate] if plate else "", row[well], row[site])
        found = files.setdefault(place, {})
        for channel in channels:
            address = _address({what: text_of(row[column]) for what, column in channel.columns.items()})
            known = found.get((channel.kind, channel.channel), ())
            if address and address not in known:
                found[channel.kind, channel.channel] = (*known, address)
    return LoadData(uri, files, plate is not None)


def beside(source_uri: str, cloud: Cloud) -> str | None:
    """The load_data file that the Cell Painting Gallery's layout has for a plate in a store; None where there is
    none."""
    match = _GALLERY.fullmatch(source_uri)
    if match is None or not is_remote(source_uri):
        return None
    folder = f"{match[1]}/load_data_csv/{match[2]}/{match[3]}/"
    try:
        there = set(list_remote(folder, cloud))
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


def _read(path: Path, uri: str) -> "pl.DataFrame":
    import polars as pl

    try:
        if uri.lower().endswith(".parquet"):
            return pl.read_parquet(path)
        if uri.lower().endswith((".csv", ".csv.gz")):
            return pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise OptionError(f"load_data {uri}: cannot be read ({str(error).splitlines()[0]})") from error
    raise OptionError(f"load_data {uri}: a .csv, .csv.gz or .parquet file is expected")
