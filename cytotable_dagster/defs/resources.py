"""Settings: what the user configures in, what `core` takes out.

A field that is not configured is looked up in the environment when a run needs it, never before.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.execution.runner import Runner, runner, thread_config
from cytotable_dagster.core.intake.addresses import Pattern
from cytotable_dagster.core.intake.patterns import find_by_pattern, whole_pattern
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.model.names import DEFAULT_NAMES
from cytotable_dagster.core.model.plate_names import safe_name
from cytotable_dagster.core.model.types import Plate
from cytotable_dagster.core.planning.options import KEEP, Options
from cytotable_dagster.core.sources.csv.plates import folder_of_plate
from cytotable_dagster.core.storage.client import is_remote
from cytotable_dagster.core.storage.destination import Destination, LocalDestination
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster.core.support.written_paths import expanded
from cytotable_dagster.loading import loaded

if TYPE_CHECKING:
    from parsl import Config


class PlateSource(dg.ConfigurableResource):
    """Where plates are, how they are fetched and read."""

    location: str | None = Field(
        default=None,
        description="A folder or s3:// prefix that holds {plate}.sqlite, or a pattern such as "
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
        default=None, description="Of a store that is not AWS. Default: CYTOTABLE_ENDPOINT_URL."
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
        return find_by_pattern(self._location(), name, self.cloud())

    def pattern(self) -> Pattern:
        """The addresses at which plates are looked for; absolute."""
        text = whole_pattern(self._location())
        if not is_remote(text):
            text = str(Path(text).absolute()) + "/" * text.endswith("/")
        return Pattern(text, self.marker or os.environ.get("CYTOTABLE_MARKER") or None)

    def cloud(self) -> dict[str, Any]:
        """Options of the cloud client."""
        unsigned = self.no_sign_request
        if unsigned is None:
            unsigned = os.environ.get("CYTOTABLE_NO_SIGN_REQUEST", "").lower() in ("1", "true", "yes")
        options = {
            "local_cache_dir": _setting(self.cache, "CYTOTABLE_CACHE", "plate_cache"),
            "endpoint_url": self.endpoint_url or os.environ.get("CYTOTABLE_ENDPOINT_URL"),
            "no_sign_request": unsigned or None,
            "cache_limit": self.cache_limit or os.environ.get("CYTOTABLE_CACHE_LIMIT") or None,
        }
        return {name: value for name, value in options.items() if value is not None}

    def _location(self) -> str:
        location = expanded(_setting(self.location, "CYTOTABLE_SOURCE", "plates"), to_read=True)
        pattern = self.plate_pattern or os.environ.get("CYTOTABLE_PLATE_PATTERN")
        if not pattern or "{plate}" in location:
            return location
        return f"{location.rstrip('/')}/{folder_of_plate(pattern)}/"

    def preset_name(self) -> str | None:
        return self.preset or os.environ.get("CYTOTABLE_PRESET") or None


class Lake(dg.ConfigurableResource):
    """Where results go, a folder for each plate or a prefix for each of a store; and what they are like."""

    folder: str | None = Field(
        default=None, description="A folder or an s3:// prefix. Default: CYTOTABLE_LAKE, else ./lake."
    )
    work: str | None = Field(
        default=None,
        description="Folder of this machine for plans and chunk files where the lake is in a store. Default: "
        "CYTOTABLE_WORK, else plate_work beside the cache.",
    )
    endpoint_url: str | None = Field(
        default=None, description="Of a store that is not AWS. Default: CYTOTABLE_ENDPOINT_URL."
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
            names=_setting(self.names, "CYTOTABLE_NAMES", DEFAULT_NAMES),
            unmatched=_setting(self.unmatched, "CYTOTABLE_UNMATCHED", KEEP),
            encoding=_setting(self.encoding, "CYTOTABLE_ENCODING", "utf-8"),
            delimiter=self.delimiter or os.environ.get("CYTOTABLE_DELIMITER") or None,
            decimal=self.decimal or os.environ.get("CYTOTABLE_DECIMAL") or None,
            site_pattern=self.site_pattern or os.environ.get("CYTOTABLE_SITE_PATTERN") or None,
            equal_sites=self.equal_sites or os.environ.get("CYTOTABLE_EQUAL_SITES") or None,
        )

    def of(self, plate: str) -> PlateFolder:
        """The folder of one plate."""
        return self.folders([plate])[plate]

    def folders(self, names: Iterable[str]) -> dict[str, PlateFolder]:
        """The folders of plates, called as they are (see `plate_names`)."""
        lake = destination_of(_setting(self.folder, "CYTOTABLE_LAKE", "lake"), store_options(self.endpoint_url))
        if isinstance(lake, LocalDestination):
            return {name: PlateFolder(lake.root / safe_name(name)) for name in names}
        beside = Path(expanded(_setting(None, "CYTOTABLE_CACHE", "plate_cache"))).with_name("plate_work")
        work = Path(expanded(_setting(self.work, "CYTOTABLE_WORK", str(beside)))).absolute()
        return {name: PlateFolder(work / safe_name(name), lake) for name in names}


class Dataset(dg.ConfigurableResource):
    """Where the tables of all plates go, and which plates are in them. What lies there belongs to its assets."""

    folder: str | None = Field(
        default=None, description="A folder or an s3:// prefix. Default: CYTOTABLE_DATASET, else ./dataset."
    )
    plates: str | None = Field(
        default=None,
        description="Plates by name or <batch>/<name>, patterns allowed, with commas between: BR*, 2020_11_04/*. "
        "Default: CYTOTABLE_DATASET_PLATES, else all.",
    )
    endpoint_url: str | None = Field(
        default=None, description="Of a store that is not AWS. Default: CYTOTABLE_ENDPOINT_URL."
    )

    def destination(self) -> Destination:
        options = store_options(self.endpoint_url)
        return destination_of(_setting(self.folder, "CYTOTABLE_DATASET", "dataset"), options)

    def chosen(self) -> list[str]:
        """Patterns of the plates' names."""
        return [name.strip() for name in _setting(self.plates, "CYTOTABLE_DATASET_PLATES", "*").split(",")]


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
        return self.url or os.environ.get("CYTOTABLE_WEBHOOK_URL") or None


class ParslCluster(dg.ConfigurableResource):
    """What the chunks are converted on; a Parsl kernel is started for each step that needs one, and cleaned up."""

    executor: str | None = Field(
        default=None,
        description="threads; processes (a HighThroughputExecutor on this machine); or module:function, which "
        "returns a parsl.Config, for a cluster; the module is installed, or in the folder that Dagster was started in. "
        "Default: CYTOTABLE_EXECUTOR, else threads.",
    )
    workers: int | None = Field(
        default=None, description="Threads or processes. Default: CYTOTABLE_WORKERS, else one a core."
    )

    @contextmanager
    def runner(self, scratch: Path) -> Iterator[Runner]:
        """A runner on a kernel of its own; Parsl's files go into `scratch`."""
        with runner(self.config(scratch), scratch) as run:
            yield run

    def check(self) -> None:
        """See whether a kernel can be made of the settings, before a plate is fetched.

        Raises:
            OptionError: it cannot.
        """
        _workers(self.workers)
        if self._chosen() not in ("threads", "processes"):
            _loaded_config(self._chosen())

    def config(self, scratch: Path) -> "Config":
        chosen = self._chosen()
        workers = _workers(self.workers)
        if chosen == "threads":
            return thread_config(workers)
        if chosen == "processes":
            return _process_config(workers, scratch)
        return _loaded_config(chosen)

    def _chosen(self) -> str:
        return _setting(self.executor, "CYTOTABLE_EXECUTOR", "threads")


def _setting(configured: str | None, variable: str, default: str) -> str:
    return configured or os.environ.get(variable) or default


def store_options(endpoint_url: str | None) -> dict[str, Any]:
    """Options of a client that writes: credentials are those of the environment."""
    endpoint = endpoint_url or os.environ.get("CYTOTABLE_ENDPOINT_URL")
    return {"endpoint_url": endpoint} if endpoint else {}


def _workers(configured: int | None) -> int:
    text = str(configured or os.environ.get("CYTOTABLE_WORKERS") or os.cpu_count() or 1)
    if not text.isdigit() or int(text) < 1:
        raise OptionError(f"CYTOTABLE_WORKERS={text!r}: give a number from 1")
    return int(text)


def _process_config(workers: int, scratch: Path) -> "Config":
    from parsl import Config, HighThroughputExecutor
    from parsl.providers import LocalProvider

    # Parsl looks for its scripts on the PATH, where an environment that is not activated is not.
    scripts = Path(sys.executable).parent
    # A run that is killed would leave its interchange, and that its workers; on Linux the kernel can end it too.
    mortal = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    return Config(
        executors=[
            HighThroughputExecutor(
                interchange_launch_cmd=[*mortal, str(scripts / "interchange.py")],
                label="processes",
                address="127.0.0.1",
                loopback_address="127.0.0.1",
                max_workers_per_node=workers,
                worker_logdir_root=str(scratch / "parsl"),
                heartbeat_period=5,
                heartbeat_threshold=20,
                provider=LocalProvider(
                    init_blocks=1, max_blocks=1, worker_init=f"export PATH={shlex.quote(str(scripts))}:$PATH"
                ),
            )
        ],
        run_dir=str(scratch / "parsl"),
        initialize_logging=False,
        usage_tracking=0,
    )


def _loaded_config(address: str) -> "Config":
    """What the user's function at `module:function` returns."""
    found = loaded(address, f"executor {address!r}", "give threads, processes or module:function")
    from parsl import Config

    if not isinstance(found, Config):
        raise OptionError(f"executor {address!r}: a parsl.Config is expected, not a {type(found).__name__}")
    return found
