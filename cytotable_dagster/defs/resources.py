"""Where plates are and results go: what the user configures in, what `core` takes out; see also `settings`."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from cytotable_dagster.core.intake.addresses import Pattern
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.intake.patterns import find_by_pattern, whole_pattern
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.model.names import DEFAULT_NAMES
from cytotable_dagster.core.model.plate_names import safe_name
from cytotable_dagster.core.model.types import Plate
from cytotable_dagster.core.planning.options import KEEP, Options
from cytotable_dagster.core.sources.plate_folders import folder_of_plate
from cytotable_dagster.core.storage.address import is_remote
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.local_destination import LocalDestination
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster.core.support.written_paths import expanded
from cytotable_dagster.defs.settings import WAREHOUSE, setting


class PlateSource(dg.ConfigurableResource):
    """Where plates are, how they are fetched and read."""

    location: str | None = Field(
        default=None,
        description="A folder or prefix of a store that holds {plate}.sqlite, or a pattern such as "
        "s3://bucket/backend/{batch}/{plate}/{plate}.sqlite, or s3://bucket/{batch}/{plate}/analysis/ for plates that "
        "are folders of CSV files; asked for plates that were added without an address. "
        "Default: CYTOTABLE_SOURCE, else ./plates.",
    )
    plate_pattern: str | None = Field(
        default=None,
        description="Where the location names a folder of plates of CSV or NPZ files: the plates' folders below it, "
        "such as {plate}/{site}/.... Default: CYTOTABLE_PLATE_PATTERN, else none.",
    )
    marker: str | None = Field(
        default=None,
        description="Where the location ends in / and plates are folders: a file, by name or glob, without which a "
        "plate is not whole. Default: CYTOTABLE_MARKER, else none.",
    )
    endpoint_url: str | None = Field(
        default=None, description="Of an S3 store that is not AWS. Default: CYTOTABLE_ENDPOINT_URL."
    )
    no_sign_request: bool | None = Field(
        default=None, description="Public data, no credentials. Default: CYTOTABLE_NO_SIGN_REQUEST=1."
    )
    cache: str | None = Field(
        default=None, description="Folder of downloaded plates. Default: CYTOTABLE_CACHE, else ./plate_cache."
    )
    cache_limit: str | None = Field(
        default=None,
        description="What that folder may hold, such as 500GB; plates not used for longest go. Default: "
        "CYTOTABLE_CACHE_LIMIT, else no limit.",
    )
    preset: str | None = Field(
        default=None,
        description="The dialect of all plates, by name or path of a .toml file. Default: CYTOTABLE_PRESET, else "
        "detected.",
    )

    def plate(self, name: str, uri: str | None) -> Plate:
        """The plate of this name: at the address given, else where the pattern says."""
        if uri is not None:
            return Plate(name, uri)
        return find_by_pattern(self._location(), name, self.copies().store)

    def pattern(self) -> Pattern:
        """The addresses at which plates are looked for; absolute."""
        text = whole_pattern(self._location())
        if not is_remote(text):
            text = str(Path(text).absolute()) + "/" * text.endswith("/")
        return Pattern(text, setting(self.marker, "CYTOTABLE_MARKER"))

    def copies(self) -> Cache:
        """Where plates of a store are kept, and how that store is spoken to.

        Raises:
            OptionError: a limit that is none.
        """
        return Cache.checked(self.store_options())

    def store_options(self) -> dict[str, Any]:
        """The same as arguments of the library's functions."""
        unsigned = self.no_sign_request
        if unsigned is None:
            unsigned = os.environ.get("CYTOTABLE_NO_SIGN_REQUEST", "").lower() in ("1", "true", "yes")
        options = {
            "local_cache_dir": setting(self.cache, "CYTOTABLE_CACHE", "plate_cache"),
            "endpoint_url": setting(self.endpoint_url, "CYTOTABLE_ENDPOINT_URL"),
            "no_sign_request": unsigned or None,
            "cache_limit": setting(self.cache_limit, "CYTOTABLE_CACHE_LIMIT"),
        }
        return {name: value for name, value in options.items() if value is not None}

    def _location(self) -> str:
        location = expanded(setting(self.location, "CYTOTABLE_SOURCE", "plates"), to_read=True)
        pattern = setting(self.plate_pattern, "CYTOTABLE_PLATE_PATTERN")
        if not pattern or "{plate}" in location:
            return location
        return f"{location.rstrip('/')}/{folder_of_plate(pattern)}/"

    def preset_name(self) -> str | None:
        return setting(self.preset, "CYTOTABLE_PRESET")


class Lake(dg.ConfigurableResource):
    """Where results go, a folder for each plate or a prefix for each of a store; and what they are like."""

    folder: str | None = Field(
        default=None, description="A folder or a prefix of a store. Default: CYTOTABLE_LAKE, else ./lake."
    )
    work: str | None = Field(
        default=None,
        description="Folder of this machine for plans and chunk files where the lake is in a store. Default: "
        "CYTOTABLE_WORK, else plate_work beside the cache.",
    )
    endpoint_url: str | None = Field(
        default=None, description="Of an S3 store that is not AWS. Default: CYTOTABLE_ENDPOINT_URL."
    )

    names: str | None = Field(
        default=None,
        description="Of columns: default, or cytotable for CytoTable's own. Default: CYTOTABLE_NAMES, else default.",
    )
    unmatched: str | None = Field(
        default=None,
        description="Whether single cells keep or drop a cytoplasm that lacks its cell or nucleus. Default: "
        "CYTOTABLE_UNMATCHED, else keep.",
    )

    encoding: str | None = Field(
        default=None, description="Of CSV files, such as latin-1. Default: CYTOTABLE_ENCODING, else utf-8."
    )
    delimiter: str | None = Field(
        default=None,
        description="Of CSV files' fields, such as ; or tab. Default: CYTOTABLE_DELIMITER, else what each file shows.",
    )
    decimal: str | None = Field(
        default=None,
        description="Of CSV files' numbers, . or a comma. Default: CYTOTABLE_DECIMAL, else what each file shows.",
    )

    site_pattern: str | None = Field(
        default=None,
        description="What the names of CSV plates' folders say, such as {plate}-{well}-{site}. Default: "
        "CYTOTABLE_SITE_PATTERN, else the Cell Painting Gallery's where they fit it.",
    )
    equal_sites: str | None = Field(
        default=None,
        description="Whether sites whose image tables are equal to the byte are refused or kept: refuse, keep. "
        "Default: CYTOTABLE_EQUAL_SITES, else refuse.",
    )

    def options(self, chunks: int) -> Options:
        """How plates are converted."""
        return Options.checked(
            chunks=chunks,
            names=setting(self.names, "CYTOTABLE_NAMES", DEFAULT_NAMES),
            unmatched=setting(self.unmatched, "CYTOTABLE_UNMATCHED", KEEP),
            encoding=setting(self.encoding, "CYTOTABLE_ENCODING", "utf-8"),
            delimiter=setting(self.delimiter, "CYTOTABLE_DELIMITER"),
            decimal=setting(self.decimal, "CYTOTABLE_DECIMAL"),
            site_pattern=setting(self.site_pattern, "CYTOTABLE_SITE_PATTERN"),
            equal_sites=setting(self.equal_sites, "CYTOTABLE_EQUAL_SITES"),
        )

    def of(self, plate: str) -> PlateFolder:
        """The folder of one plate."""
        return self.folders([plate])[plate]

    def folders(self, names: Iterable[str]) -> dict[str, PlateFolder]:
        """The folders of plates, called as they are (see `plate_names`)."""
        lake = destination_of(setting(self.folder, "CYTOTABLE_LAKE", "lake"), store_to_write(self.endpoint_url))
        if isinstance(lake, LocalDestination):
            return {name: PlateFolder(lake.root / safe_name(name)) for name in names}
        beside = Path(expanded(setting(None, "CYTOTABLE_CACHE", "plate_cache"))).with_name("plate_work")
        work = Path(expanded(setting(self.work, "CYTOTABLE_WORK", str(beside)))).absolute()
        return {name: PlateFolder(work / safe_name(name), lake) for name in names}


class Dataset(dg.ConfigurableResource):
    """Where the tables of all plates go, and which plates are in them. What lies there belongs to its assets."""

    folder: str | None = Field(
        default=None, description="A folder or a prefix of a store. Default: CYTOTABLE_DATASET, else ./dataset."
    )
    plates: str | None = Field(
        default=None,
        description="Plates by name or <batch>/<name>, patterns allowed, with commas between: BR*, 2020_11_04/*. "
        "Default: CYTOTABLE_DATASET_PLATES, else all.",
    )
    endpoint_url: str | None = Field(
        default=None, description="Of an S3 store that is not AWS. Default: CYTOTABLE_ENDPOINT_URL."
    )

    def destination(self) -> Destination:
        store = store_to_write(self.endpoint_url)
        return destination_of(setting(self.folder, "CYTOTABLE_DATASET", "dataset"), store)

    def chosen(self) -> list[str]:
        """Patterns of the plates' names."""
        return [name.strip() for name in setting(self.plates, "CYTOTABLE_DATASET_PLATES", "*").split(",")]


class Warehouse(dg.ConfigurableResource):
    """Where the warehouse is made of the dataset's single cells. What lies there belongs to its asset."""

    folder: str | None = Field(
        default=None,
        description="A folder of this machine. Default: CYTOTABLE_WAREHOUSE, without which there is no such asset.",
    )

    def root(self) -> Path:
        return Path(expanded(setting(self.folder, WAREHOUSE, "warehouse"))).absolute()


class Webhook(dg.ConfigurableResource):
    """Where notices go; nowhere unless an address is given."""

    url: str | None = Field(
        default=None,
        description="Takes Slack's format. A secret: give it as dg.EnvVar, for the web UI shows what stands here. "
        "Default: CYTOTABLE_WEBHOOK_URL, else no notices.",
    )
    quiet_seconds: float = Field(
        default=600, description="How long no plate of a batch has ended before the batch is done."
    )
    stuck_seconds: float = Field(
        default=3600, description="How long nothing has moved while runs wait before that is told."
    )

    def address(self) -> str | None:
        return setting(self.url, "CYTOTABLE_WEBHOOK_URL")


def store_to_write(endpoint_url: str | None) -> Store:
    """The store that results go to: credentials are those of the environment."""
    endpoint = setting(endpoint_url, "CYTOTABLE_ENDPOINT_URL")
    return Store.checked({"endpoint_url": endpoint} if endpoint else {})
