"""Processes that are killed, at a random moment or at a chosen change of a name or of the store, and pairs of them.

After the kill no file under a final name is half of one, and no table is missing that was there; the next conversion
gives the bytes of an undisturbed one, and after it nothing is left in destination, store, cache and TMPDIR.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from attacks.outcome import DIFFERENT, HALF, LEFT, RAW, RIGHT, Outcome
from cytotable_dagster import CytoTableError, convert, datasets
from cytotable_dagster.core.errors import DestinationExistsError
from cytotable_dagster.core.storage import upload
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.local_destination import LocalDestination
from cytotable_dagster.core.storage.store_destination import StoreDestination, destination_of
from cytotable_dagster.core.support.leftovers import owned_folder, sweep
from cytotable_dagster.demo.s3_server import S3Server, s3_client, start_s3_server
from cytotable_dagster.demo.wide import write_wide_plate

_ROOT = Path(__file__).parents[1]
_BUCKET = "killed"
_OF_CLIENT = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
Content = dict[str, bytes]


@dataclass(frozen=True)
class _Kind:
    """A way to convert: `options` are arguments; `over` says that the results of another plate are there before;
    `from_store` and `store` where the plate is and where results go, `processes` what works; `most` is how many steps
    there may be at which it can be killed."""

    call: str = "convert"
    options: dict[str, Any] = field(default_factory=dict)
    over: bool = False
    store: bool = False
    processes: bool = False
    from_store: bool = False
    dest: str = "out"
    most: int = 60


_SMALL = {"chunk_size": 300}
KINDS = {
    "folder": _Kind(options=_SMALL),
    "folder over": _Kind(options=_SMALL, over=True),
    "joined": _Kind(options=_SMALL, dest="deep/out.parquet"),
    "joined over": _Kind(options=_SMALL, dest="out.parquet", over=True),
    "parts": _Kind(options={**_SMALL, "concat": False}, most=150),
    "parts over": _Kind(options={**_SMALL, "concat": False}, over=True, most=150),
    "from store": _Kind(options=_SMALL, from_store=True),
    "store": _Kind(options=_SMALL, store=True, most=25),
    "store over": _Kind(options=_SMALL, store=True, over=True, most=35),
    "store parts over": _Kind(options={**_SMALL, "concat": False}, store=True, over=True, most=120),
    "dataset": _Kind("add", options=_SMALL, most=150),
    "dataset over": _Kind("add", options=_SMALL, over=True, most=150),
    "dataset in store": _Kind("add", options=_SMALL, over=True, store=True, most=40),
    "processes": _Kind(options=_SMALL, processes=True, over=True),
    "dagster": _Kind("dagster"),
    "dagster processes": _Kind("dagster", processes=True),
    "pair": _Kind(options=_SMALL),
    "pair of adds": _Kind("add", options=_SMALL),
}
# How often each is chosen.
_WEIGHTS = {"processes": 1, "dagster": 2, "dagster processes": 1}


def attack(seed: str, folder: Path) -> Outcome:
    """One kill of one conversion, or of one of two."""
    upload.PART_BYTES = 5 << 20
    chance = random.Random(seed)
    return attack_on(chance.choices(list(KINDS), [_WEIGHTS.get(name, 3) for name in KINDS])[0], chance, folder)


def attack_on(name: str, chance: random.Random, folder: Path) -> Outcome:
    """One kill of one way to convert, of those in `KINDS`."""
    kind = KINDS[name]
    (folder / "tmp").mkdir()
    with _temporary_files_in(folder / "tmp"):
        if kind.call == "dagster":
            found = _dagster(chance, kind, folder)
        elif name.startswith("pair"):
            found = _pair(chance, kind, folder)
        else:
            found = _one(chance, kind, folder)
    return Outcome(found.kind, f"{name}: {found.detail}")


def _one(chance: random.Random, kind: _Kind, folder: Path) -> Outcome:
    place, address, arguments = _target(kind, folder)
    old = _before(kind, address, arguments, place)
    new = _undisturbed(kind)
    kill = None
    if chance.random() < 0.7:
        request = kind.store and chance.random() < 0.7
        kill = ["request" if request else "name", chance.randint(1, kind.most), chance.choice(["before", "after"])]
    process = _start(kind, {**arguments, "source_path": _source(kind, "B")}, folder, kill)
    if kill is None:
        time.sleep(chance.random() * 1.5)
        process.kill()
    ended = process.wait()
    told = f"killed at {kill or 'a moment'}" if ended else "not killed"
    if wrong := _wrong(_content(place), old, new, gone=kind.call == "convert"):
        return Outcome(HALF, f"{told}: {wrong}")
    try:
        _run(kind, {**arguments, "source_path": _source(kind, "B")})
    except DestinationExistsError:
        if kind.over or _content(place) != new:
            return Outcome(DIFFERENT, f"{told}: the rerun finds results that are not whole")
    except CytoTableError as error:
        return Outcome(RAW, f"{told}: the rerun ends in {type(error).__name__}: {error}")
    if _content(place) != new:
        return Outcome(DIFFERENT, f"{told}: after the rerun {_unequal(_content(place), new)}")
    return _left(folder, place, told)


def _pair(chance: random.Random, kind: _Kind, folder: Path) -> Outcome:
    """Two at once to one destination; perhaps one of them is killed."""
    place, _, arguments = _target(kind, folder)
    pair = [_start(kind, {**arguments, "source_path": str(_plates()[name])}, folder) for name in ("A", "B")]
    killed = chance.random() < 0.5
    if killed:
        time.sleep(chance.random())
        pair[0].kill()
    said = [process.stdout.read().decode().strip() for process in pair if process.stdout is not None]
    statuses = [process.wait() for process in pair]
    told = f"two, {'one killed' if killed else 'none killed'}, ended with {statuses} {said}"
    found, both = _content(place), [_undisturbed(kind, "A"), _undisturbed(kind, "B")]
    if kind.call == "convert":
        if sorted(statuses) != [0, 1] and not killed:
            return Outcome(DIFFERENT, told)
        if found not in (*both, {}) or (not found and 0 in statuses):
            return Outcome(DIFFERENT, f"{told}: the results of neither")
    elif not killed and (statuses != [0, 0] or len(_plates_in(found)) != 2):
        return Outcome(DIFFERENT, f"{told}: in it are {sorted(_plates_in(found))}")
    for name in ("A", "B"):
        try:
            _run(kind, {**arguments, "source_path": str(_plates()[name])})
        except DestinationExistsError:
            continue
    found = _content(place)
    if kind.call == "convert" and found not in both:
        return Outcome(DIFFERENT, f"{told}: after the rerun the results of neither")
    if kind.call == "add" and found != {**both[0], **both[1]}:
        return Outcome(DIFFERENT, f"{told}: after the rerun {_unequal(found, {**both[0], **both[1]})}")
    return _left(folder, place, told)


def _dagster(chance: random.Random, kind: _Kind, folder: Path) -> Outcome:
    whole = _undisturbed_lake()
    shutil.copytree(_home(), folder / "home")
    kill = None
    if chance.random() < 0.5:
        kill = ["name", chance.randint(1, 400), chance.choice(["before", "after"])]
    process = _start(kind, {"plate": "B"}, folder, kill)
    if kill is None:
        time.sleep(chance.random() * (15 if kind.processes else 6))
        process.kill()
    ended = process.wait()
    told = f"killed at {kill or 'a moment'}" if ended < 0 else "not killed"
    lake = LocalDestination(folder / "lake")
    if wrong := _wrong(_content(lake), {}, whole, gone=False):
        return Outcome(HALF, f"{told}: {wrong}")
    if _start(kind, {"plate": "B"}, folder).wait():
        return Outcome(DIFFERENT, f"{told}: the next run fails: {(folder / 'log').read_text()[-300:]!r}")
    if _content(lake) != whole:
        return Outcome(DIFFERENT, f"{told}: after the rerun {_unequal(_content(lake), whole)}")
    return _left(folder, lake, told)


def _target(kind: _Kind, folder: Path) -> tuple[Destination, str, dict[str, Any]]:
    """What the results lie under, their address, and the arguments that say so."""
    address = f"s3://{_BUCKET}/{folder.name}/{kind.dest}" if kind.store else str(folder / kind.dest)
    cloud = {**_OF_CLIENT, "endpoint_url": _server().endpoint_url}
    arguments = dict(kind.options)
    arguments["dest_path" if kind.call == "convert" else "dataset_path"] = address
    if kind.over and kind.call == "convert":
        arguments["overwrite"] = True
    if kind.store:
        arguments["dest_cloud"] = cloud
    if kind.from_store:
        arguments |= {**cloud, "local_cache_dir": str(folder / "cache")}
    return destination_of(address.rpartition("/")[0], cloud), address, arguments


def _source(kind: _Kind, name: str) -> str:
    if not kind.from_store:
        return str(_plates()[name])
    return f"s3://{_BUCKET}/plates/{name}.sqlite"


def _before(kind: _Kind, address: str, arguments: dict[str, Any], place: Destination) -> Content:
    """What is there before the kill."""
    if not kind.over:
        return {}
    _run(kind, {**arguments, "source_path": str(_plates()["A"])})
    return _content(place)


def _run(kind: _Kind, arguments: dict[str, Any]) -> None:
    (convert if kind.call == "convert" else datasets.add)(**arguments)


def _start(
    kind: _Kind, arguments: dict[str, Any], folder: Path, kill: list[Any] | None = None
) -> "subprocess.Popen[bytes]":
    """A process that converts, from the moment when it begins."""
    job = {"call": kind.call, "arguments": arguments, "kill": kill, "processes": kind.processes, "logs": str(folder)}
    environment = {
        **os.environ,
        "TMPDIR": str(folder / "tmp"),
        "DAGSTER_HOME": str(folder / "home"),
        "CYTOTABLE_LAKE": str(folder / "lake"),
        "CYTOTABLE_CACHE": str(folder / "cache"),
        "CYTOTABLE_CHUNKS_PER_PLATE": "4",
        "CYTOTABLE_EXECUTOR": "processes" if kind.processes else "threads",
        "CYTOTABLE_WORKERS": "2",
    }
    with (folder / "log").open("ab") as log:
        command = [sys.executable, "-m", "attacks.victim", json.dumps(job)]
        process = subprocess.Popen(command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, stderr=log)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def _content(place: Destination) -> Content:
    """Every file under its final name."""
    found = {}
    for stored in place.list():
        if stored.name.endswith(".parquet"):
            with place.open(stored.name) as file:
                found[stored.name] = file.read()
    return {name: content for name, content in found.items() if not name.startswith(("cache/", "home/"))}


def _wrong(found: Content, old: Content, new: Content, *, gone: bool) -> str:
    """What is wrong with what a killed process left under final names."""
    for name, content in found.items():
        if content not in (old.get(name), new.get(name)):
            return f"{name} is neither the old file nor the new one"
    tables = {name.rsplit("/", 1)[0] if "/0" in name else name for name in found}
    missing = {name.rsplit("/", 1)[0] if "/0" in name else name for name in old} - tables
    return f"{min(missing)} is missing" if missing and gone else ""


def _unequal(found: Content, wanted: Content) -> str:
    names = [name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)]
    return f"{len(names)} files are not those of an undisturbed run, among them {min(names)}"


def _all_inside(folder: Path) -> list[Path]:
    """Every file and folder, while a worker that ends may remove its own: os.walk passes over what is gone."""
    return [Path(place) / name for place, folders, names in os.walk(folder) for name in (*folders, *names)]


def _left(folder: Path, place: Destination, told: str) -> Outcome:
    """What is there that should have gone."""
    kept = (".lock", ".use", ".json")  # the cache's own records, and a lake's
    left = [
        path.relative_to(folder).as_posix()
        for path in _all_inside(folder)
        if path.relative_to(folder).parts[0] not in ("home", "log")
        and (path.name.startswith(".") or path.parent == folder / "tmp")
        and not (path.name.endswith(kept) and "cytotable" not in path.name)
        and path.name not in (".plan", ".results")
        # Python's own, of workers that were asked to end.
        and not path.name.startswith("pymp-")
    ]
    if isinstance(place, StoreDestination):
        left += [name for name in place.there("") if "/.cytotable" in f"/{name}"]
        begun = s3_client(_server().endpoint_url).list_multipart_uploads(Bucket=_BUCKET, Prefix=folder.name)
        left += [entry["Key"] for entry in begun.get("Uploads", [])]
    return Outcome(LEFT, f"{told}: {', '.join(left[:3])}") if left else Outcome(RIGHT, told)


def _plates_in(content: Content) -> set[str]:
    return {name.rpartition("/")[2] for name in content if name.startswith("Cells/")}


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    before = tempfile.tempdir
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


@cache
def _plates() -> dict[str, Path]:
    """Two plates of one layout."""
    folder = _kept_folder("plates")
    for name, images in (("A", 7), ("B", 8)):
        write_wide_plate(folder / f"{name}.sqlite", images=images, objects_per_image=150, features=800)
    return {name: folder / f"{name}.sqlite" for name in ("A", "B")}


@cache
def _undisturbed_by(call: str, dest: str, options: str, over: bool, from_store: bool, name: str) -> Content:
    kind = _Kind(call, json.loads(options), dest=dest, over=over, from_store=from_store)
    folder = _kept_folder("undisturbed")
    place, address, arguments = _target(kind, folder)
    _before(kind, address, arguments, place)
    _run(kind, {**arguments, "source_path": _source(kind, name)})
    return _content(place)


def _undisturbed(kind: _Kind, name: str = "B") -> Content:
    """What a conversion gives that nobody disturbs; in a dataset beside what was there before."""
    over = kind.over and kind.call == "add"
    options = json.dumps(kind.options, sort_keys=True)
    return _undisturbed_by(kind.call, kind.dest, options, over, kind.from_store, name)


@cache
def _home() -> Path:
    """A Dagster instance that knows plate B."""
    import dagster as dg

    from cytotable_dagster.defs import plates
    from cytotable_dagster.demo.servers import prepare_home

    home = _kept_folder("home") / "home"
    prepare_home(home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        plates.add(instance, "B", str(_plates()["B"]))
    return home


@cache
def _undisturbed_lake() -> Content:
    folder = _kept_folder("lake")
    shutil.copytree(_home(), folder / "home")
    (folder / "tmp").mkdir()
    if _start(KINDS["dagster"], {"plate": "B"}, folder).wait():
        raise RuntimeError((folder / "log").read_text()[-2000:])
    return _content(LocalDestination(folder / "lake"))


@cache
def _server() -> S3Server:
    server = start_s3_server()
    client = s3_client(server.endpoint_url)
    client.create_bucket(Bucket=_BUCKET)
    for name, path in _plates().items():
        client.put_object(Bucket=_BUCKET, Key=f"plates/{name}.sqlite", Body=path.read_bytes())
    return server


_kept = ExitStack()


def _kept_folder(name: str) -> Path:
    """A folder for as long as this process lives; the next attack removes it."""
    place = Path(os.environ.get("TMPDIR", "/tmp"))
    sweep(place)
    return _kept.enter_context(owned_folder(place, f"attack.{name}"))
