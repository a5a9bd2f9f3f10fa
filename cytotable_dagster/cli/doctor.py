"""What state things are in: the parts of the installation, the folders and stores that settings name, what was left."""

import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.shown import human_bytes
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.local_destination import LocalDestination
from cytotable_dagster.core.support.files import size_of
from cytotable_dagster.core.support.leftovers import owned_file

OK, NOTE, WRONG = "ok", "note", "wrong"
_PARTS = ("dagster", "parsl", "duckdb", "pyarrow", "numba")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and the state it is in: `ok`, `note` for what need not be so, `wrong`."""

    what: str
    state: str
    detail: str


def findings() -> list[Finding]:
    """Everything that is looked at. An address is asked for one name; nothing is written but files that go at once."""
    looked_at: list[tuple[str, Callable[[], Finding | list[Finding]]]] = [
        ("version", _version),
        ("readers", _readers),
        ("Parsl", _parsl),
        ("Dagster", _dagster),
        ("pools", _pools),
        ("temporary folder", lambda: _folder("temporary folder", Path(tempfile.gettempdir()))),
        ("plates", _plates),
        ("cache", _cache),
        ("cache of the shell", _shells_cache),
        ("lake", _lake),
        ("plans and chunks", _work),
        ("dataset", _dataset),
        ("warehouse", _warehouse),
    ]
    return [finding for what, look in looked_at for finding in _looked(what, look)]


def _looked(what: str, look: "Callable[[], Finding | list[Finding]]") -> Iterator[Finding]:
    try:
        found = look()
    except (CytoTableError, OSError, ImportError) as error:
        found = Finding(what, WRONG, " ".join(str(error).split()))
    yield from found if isinstance(found, list) else [found]


def as_text(found: Sequence[Finding]) -> str:
    """A line for each."""
    width = max(len(finding.what) for finding in found)
    return "\n".join(f"{finding.state:5}  {finding.what:{width}}  {finding.detail}" for finding in found)


def as_json(found: Sequence[Finding]) -> str:
    """A list of objects, one for each."""
    return json.dumps([asdict(finding) for finding in found], indent=1)


def _version() -> Finding:
    from cytotable_dagster.core.version import VERSION

    parts = ", ".join(f"{name} {metadata.version(name)}" for name in _PARTS)
    return Finding("version", OK, f"{VERSION}; Python {platform.python_version()}, {parts}")


def _readers() -> Finding:
    from cytotable_dagster.core.environment import KERNEL_CACHE
    from cytotable_dagster.core.kernels.code_cache import folders
    from cytotable_dagster.core.kernels.loading import kept_in

    if (folder := kept_in()) is not None:
        return Finding("readers", OK, f"compiled, in {folder}")
    place = next((folder.path for folder in folders() if folder.can_be_written()), None)
    if place is None:
        return Finding(
            "readers", WRONG, f"compiled by every process anew: name a folder to keep them by {KERNEL_CACHE}"
        )
    return Finding(
        "readers", NOTE, f"not compiled; the first conversion does so (or --compile), and keeps them in {place}"
    )


def _parsl() -> Finding:
    scripts = Path(sys.executable).parent
    missing = [name for name in ("interchange.py", "process_worker_pool.py") if not shutil.which(name, path=scripts)]
    if missing:
        return Finding(
            "Parsl", WRONG, f"{', '.join(missing)} not in {scripts}; CYTOTABLE_EXECUTOR=processes needs them"
        )
    if shutil.which("setpriv") is None:
        return Finding("Parsl", NOTE, "workers of a killed run stay for minutes: install setpriv (util-linux)")
    return Finding("Parsl", OK, f"its programs are in {scripts}")


def _dagster() -> Finding:
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        return Finding("Dagster", NOTE, "DAGSTER_HOME is not set; convert and dataset need none")
    if not (Path(home) / "dagster.yaml").is_file():
        return Finding("Dagster", WRONG, f"{home} has no dagster.yaml: cytotable-dagster home writes it")
    return _folder("Dagster", Path(home))


def _pools() -> list[Finding]:
    home = os.environ.get("DAGSTER_HOME")
    if not home or not (Path(home) / "dagster.yaml").is_file():
        return []
    from cytotable_dagster.defs.home import POOLS, open_instance

    with open_instance() as instance:
        limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
    lacking = [name for name in POOLS if name not in limits]
    if lacking:
        return [Finding("pools", WRONG, f"{', '.join(lacking)} without a limit: cytotable-dagster home sets it")]
    return [Finding("pools", OK, ", ".join(f"{name} {limits[name]}" for name in POOLS) + " runs at a time")]


def _plates() -> Finding:
    """Whether plates can be listed where they are looked for."""
    from cytotable_dagster.core.intake.listing import listing
    from cytotable_dagster.defs.resources import PlateSource

    source = PlateSource()
    pattern = source.pattern()
    if "CYTOTABLE_SOURCE" not in os.environ and not Path(pattern.root).exists():
        return Finding("plates", NOTE, f"{pattern.root} is not there; CYTOTABLE_SOURCE says where new plates are")
    with listing(pattern, source.copies().store) as there:
        for batch in there.batches()[:1]:
            there.page(batch, "")
    return Finding("plates", OK, f"{pattern.text} answers")


def _cache() -> Finding:
    from cytotable_dagster.defs.resources import PlateSource

    return _cached("cache", PlateSource().copies().folder)


def _shells_cache() -> Finding:
    from cytotable_dagster.core.intake.cache_place import usual_folder

    return _cached("cache of the shell", usual_folder())


def _cached(what: str, path: Path) -> Finding:
    """A folder of downloads, and how much it holds."""
    found = _folder(what, path)
    return replace(found, detail=f"{found.detail}; holds {human_bytes(size_of(path))}") if path.exists() else found


def _lake() -> Finding:
    from cytotable_dagster.defs.resources import Lake

    folder = Lake().of("doctor")
    return _destination("lake", folder.store or LocalDestination(folder.path.parent))


def _work() -> list[Finding]:
    from cytotable_dagster.defs.resources import Lake

    folder = Lake().of("doctor")
    return [] if folder.store is None else [_folder("plans and chunks", folder.path.parent)]


def _dataset() -> Finding:
    from cytotable_dagster.defs.resources import Dataset

    return _destination("dataset", Dataset().destination())


def _warehouse() -> list[Finding]:
    """Of whoever asked for one."""
    from cytotable_dagster.core.sinks import check_package
    from cytotable_dagster.defs.build_settings import has_warehouse
    from cytotable_dagster.defs.resources import Warehouse

    if not has_warehouse():
        return []
    check_package()
    return [_folder("warehouse", Warehouse().root())]


def _destination(what: str, place: Destination) -> Finding:
    if isinstance(place, LocalDestination):
        return _folder(what, place.root)
    place.exists("")
    return Finding(what, OK, f"{place.address()} answers")


def _folder(what: str, path: Path) -> Finding:
    """Whether files can be written to a folder, or to the one that it would be made in."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    try:
        with owned_file(there, "doctor") as file:
            file.write_bytes(bytes(4096))
    except OSError as error:
        return Finding(what, WRONG, f"{path} cannot be written: {error.strerror}")
    made = "" if there == path else "will be made, "
    return Finding(what, OK, f"{path}: {made}{human_bytes(shutil.disk_usage(there).free)} free")
