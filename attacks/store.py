"""Faults of a store, under conversions from it and to it: the right result, or one line, within a minute of the last
answer; then, without the fault, the right result from the same cache, and nothing left behind.

How long a store is waited for is a third of what it is else, and so is the minute.
"""

import os
import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from attacks.outcome import DIFFERENT, HALF, HANG, LEFT, RIGHT, Outcome, refused
from attacks.store_faults import apply, fault_of
from cytotable_dagster import CytoTableError, convert
from cytotable_dagster.core.storage import client as store
from cytotable_dagster.core.storage import download, upload
from cytotable_dagster.demo.s3_server import S3Server, s3_client, start_s3_server
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.stores.between import Between, between

_MIB = 1 << 20
_PART = 5 * _MIB
_LAST = 20.0
_BUCKET = "attacked"
_TABLES = ("Image", "Cells", "Cytoplasm", "Nuclei")

Result = dict[str, pa.Table]


@dataclass(frozen=True)
class _Place:
    """A plate in the store: `address`, what is there by key, and what becomes of it."""

    address: str
    objects: dict[str, bytes]
    result: Result


def attack(seed: str, folder: Path) -> Outcome:
    """One fault, under one conversion."""
    _impatient()
    chance = random.Random(seed)
    with between(_server().endpoint_url) as passing:
        options = {"endpoint_url": passing.endpoint_url, "aws_access_key_id": "a", "aws_secret_access_key": "b"}
        return (_to if chance.random() < 0.25 else _from)(chance, folder, passing, options)


def _from(chance: random.Random, folder: Path, passing: Between, options: dict[str, Any]) -> Outcome:
    there = _plates()[chance.choice(["small", "parts", "parts", "csv"])]
    other = {key: content[: len(content) // 2] for key, content in there.objects.items()}
    operations = (
        ["GetObject", "GetObject", "HeadObject"] if "csv" not in there.address else ["GetObject", "ListObjects"]
    )
    fault = fault_of(chance, operations, lambda: _put(other))
    options["local_cache_dir"] = str(folder / "cache")
    if chance.random() < 0.3:
        options["cache_limit"] = 12 * _MIB
    apply(fault, passing)
    # moto fails on a token that is not its own.
    passing.heedless = chance.random() < 0.2 or fault.name.startswith("circles")
    outcome = _tried(lambda: convert(there.address, folder / "out", **options), passing, fault.name)
    if outcome.kind == RIGHT and fault.name.startswith("replaced"):
        outcome = Outcome(RIGHT, outcome.detail) if _read(folder / "out") else Outcome(HALF, outcome.detail)
    elif outcome.kind == RIGHT and _read(folder / "out") != there.result:
        outcome = Outcome(DIFFERENT, outcome.detail)
    elif outcome.kind != RIGHT and (folder / "out").exists():
        outcome = Outcome(HALF, f"{outcome.detail}: {sorted(path.name for path in (folder / 'out').iterdir())}")
    passing.clear()
    _put(there.objects)
    if outcome.is_fault:
        return outcome
    convert(there.address, folder / "out", overwrite=True, **options)
    if _read(folder / "out") != there.result:
        return Outcome(DIFFERENT, f"{fault.name}: the next conversion")
    for key, content in there.objects.items():
        if (folder / "cache" / _BUCKET / key).read_bytes() != content:
            return Outcome(DIFFERENT, f"{fault.name}: {key} in the cache")
    left = [path.name for path in folder.rglob("*") if path.name.endswith(".tmp") or "evil" in path.name]
    return Outcome(LEFT, f"{fault.name}: {left}") if left else outcome


def _to(chance: random.Random, folder: Path, passing: Between, options: dict[str, Any]) -> Outcome:
    source = write_sqlite(folder / "P1.sqlite", plate(JUMP, sites(3, 1, 2)))
    convert(source, folder / "right")
    right = {path.name: path.read_bytes() for path in (folder / "right").iterdir()}
    operations = ["PutObject", "ListObjects"]
    upload.PART_BYTES = chance.choice([16 * _MIB, 16 * _MIB, 2000])
    if upload.PART_BYTES == 2000:
        operations = [
            "UploadPart",
            "UploadPart",
            "CreateMultipartUpload",
            "ListMultipartUploads",
            "AbortMultipartUpload",
        ]
    fault = fault_of(chance, operations, lambda: None)
    prefix = f"results/{folder.name}"
    apply(fault, passing)
    passing.heedless = True
    outcome = _tried(lambda: convert(source, f"s3://{_BUCKET}/{prefix}", **options), passing, f"to it, {fault.name}")
    passing.clear()
    there = {name: content for name, content in _objects(prefix).items() if not name.startswith(".")}
    if any(right.get(name) != content for name, content in there.items()):
        return Outcome(HALF, f"{outcome.detail}: {sorted(there)}")
    if outcome.kind == RIGHT and there != right:
        return Outcome(DIFFERENT, outcome.detail)
    if outcome.is_fault:
        return outcome
    upload.PART_BYTES = 16 * _MIB
    convert(source, f"s3://{_BUCKET}/{prefix}", overwrite=True, **options)
    # What a writer that is gone leaves is a lock that holds nobody up.
    there = {name: content for name, content in _objects(prefix).items() if not name.startswith(".")}
    return outcome if there == right else Outcome(DIFFERENT, f"{outcome.detail}: the next conversion")


def _tried(work: Callable[[], object], passing: Between, told: str) -> Outcome:
    """What came of a conversion: `RIGHT` says that it ended well, and nothing yet of what it gave."""
    passing.last = time.monotonic()
    try:
        work()
        outcome = Outcome(RIGHT, told)
    except CytoTableError as error:
        found = refused(error)
        outcome = Outcome(found.kind, f"{told}: {found.detail}")
    since = time.monotonic() - passing.last
    return Outcome(HANG, f"{told}: {since:.0f} s after the last answer: {outcome.detail}") if since > _LAST else outcome


def _impatient() -> None:
    store.CONNECT_SECONDS, store.READ_SECONDS, store.ANSWER_SECONDS = 3, 5, 20
    download._SILENT, download._SLOW_SECONDS, download._SLOW_BYTES = 15.0, 20.0, 20_000
    upload._SECONDS = 20.0
    # Several ranges of what takes one.
    download.RANGE_BYTES = _MIB


@cache
def _server() -> S3Server:
    """The store of this process, which ends with it."""
    # Of moto; S3's is 5 MiB.
    os.environ["S3_UPLOAD_PART_MIN_SIZE"] = "1000"
    server = start_s3_server()
    s3_client(server.endpoint_url).create_bucket(Bucket=_BUCKET)
    return server


@cache
def _plates() -> dict[str, _Place]:
    """Plates of every kind, in the store, and what an undisturbed conversion makes of them."""
    folder = Path(tempfile.mkdtemp(prefix="attack.store."))
    try:
        small = write_sqlite(folder / "small.sqlite", plate(JUMP, sites(3, 2)))
        large = write_sqlite(folder / "large.sqlite", plate(JUMP, sites(2, 4)))
        with sqlite3.connect(large) as database:
            database.execute("CREATE TABLE Padding (content BLOB)")
            database.execute("INSERT INTO Padding VALUES (?)", [random.Random(1).randbytes(6 * _MIB)])
        tables = folder / "csv"
        for table in _TABLES:
            tables.mkdir(exist_ok=True)
            head = "ImageNumber" if table == "Image" else "ImageNumber,ObjectNumber,Parent_Cells,Parent_Nuclei"
            rows = ("1", "2") if table == "Image" else tuple(f"{i},{o},{o},{o}" for i in (1, 2) for o in (1, 2, 3))
            (tables / f"{table}.csv").write_text(
                "\n".join([f"{head},Value", *(f"{row},{n}.5" for n, row in enumerate(rows))])
            )
        found = {}
        for name, path in (("small", small), ("parts", large), ("csv", tables)):
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            objects = {f"{name}/plate/{file.name}": file.read_bytes() for file in files}
            _put(objects)
            convert(path, folder / f"{name}.out")
            address = f"s3://{_BUCKET}/{name}/plate/" if path.is_dir() else f"s3://{_BUCKET}/{next(iter(objects))}"
            found[name] = _Place(address, objects, _read(folder / f"{name}.out"))
        return found
    finally:
        shutil.rmtree(folder)


def _put(objects: dict[str, bytes]) -> None:
    client = s3_client(_server().endpoint_url)
    for key, content in objects.items():
        place = {"Bucket": _BUCKET, "Key": key}
        if len(content) <= _PART:
            client.put_object(**place, Body=content)
            continue
        begun = client.create_multipart_upload(**place)["UploadId"]
        parts = [
            {
                "PartNumber": n,
                "ETag": client.upload_part(**place, UploadId=begun, PartNumber=n, Body=content[at : at + _PART])[
                    "ETag"
                ],
            }
            for n, at in enumerate(range(0, len(content), _PART), 1)
        ]
        client.complete_multipart_upload(**place, UploadId=begun, MultipartUpload={"Parts": parts})


def _objects(prefix: str) -> dict[str, bytes]:
    client = s3_client(_server().endpoint_url)
    found = client.list_objects_v2(Bucket=_BUCKET, Prefix=f"{prefix}/").get("Contents", [])
    bodies = {entry["Key"]: client.get_object(Bucket=_BUCKET, Key=entry["Key"])["Body"].read() for entry in found}
    return {key.removeprefix(f"{prefix}/"): content for key, content in bodies.items()}


def _read(folder: Path) -> Result:
    return {path.stem: pq.read_table(path).replace_schema_metadata() for path in sorted(folder.glob("*.parquet"))}
