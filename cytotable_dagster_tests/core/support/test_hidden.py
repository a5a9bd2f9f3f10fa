"""Hidden files and what a Mac leaves are no part of a plate, wherever plates are looked for."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster.core.intake.arrivals import Memory
from cytotable_dagster.core.intake.discover import find_plates
from cytotable_dagster.core.intake.patterns import find_by_pattern
from cytotable_dagster.core.sources.identity import content_digest
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster_tests.core import arriving
from cytotable_dagster_tests.core.plates import EXPORT, plate, write_sqlite
from cytotable_dagster_tests.core.sources.csv import test_csv
from cytotable_dagster_tests.core.sources.npz import test_npz

APPLE = b"\0\5\26\7\0\2\0\0Mac OS X        "


def of_csv(root: Path) -> None:
    for well in ("A01", "A02"):
        test_csv.site(root / "P1" / well, well=well)


def of_npz(root: Path) -> None:
    for name in ("1", "2"):
        test_npz.site(root / "P1" / f"{name}.npz", seed=int(name))


def of_sqlite(root: Path) -> None:
    for name in ("P1", "P2"):
        write_sqlite(root / "P1" / f"{name}.sqlite", plate(EXPORT))


def with_litter(root: Path) -> None:
    """Copies of all files in hidden folders, and a Mac's file beside each."""
    files = [file for file in root.rglob("*") if file.is_file()]
    for place in ("__MACOSX", "P1/.snapshot/hourly.0", "P1/.Trash-1000/files", "P1/__MACOSX/P1"):
        shutil.copytree(
            root / "P1", root / place, ignore=lambda _, names: {n for n in names if n.startswith((".", "__"))}
        )
    for file in files:
        file.with_name(f"._{file.name}").write_bytes(APPLE)
        (file.parent / ".DS_Store").write_bytes(APPLE)


MAKE = {"csv": of_csv, "npz": of_npz, "sqlite": of_sqlite}


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("moto.server", reason="the S3 server needs the demo's extra: cytotable-dagster[demo]")
    from cytotable_dagster.demo.s3_server import s3_server

    with s3_server() as server:
        yield server


@pytest.mark.parametrize(("kind", "where"), [("csv", "folder"), ("npz", "folder"), ("sqlite", "folder"), ("npz", "s3")])
def test_a_plate_is_the_same_with_and_without(tmp_path, request, kind, where):
    # A folder that is hidden itself may be named.
    root = tmp_path / ".data" / "plates"
    MAKE[kind](root)
    before = content_digest(root / "P1")
    convert(root / "P1", tmp_path / "clean")
    with_litter(root)
    assert content_digest(root / "P1") == before
    address, cloud = str(root / "P1"), {}
    if where == "s3":
        from cytotable_dagster.demo.s3_server import upload_tree

        server = request.getfixturevalue("server")
        upload_tree(server, root, f"littered-{kind}")
        address = f"s3://littered-{kind}/P1"
        cloud = {"endpoint_url": server.endpoint_url, "no_sign_request": True, "local_cache_dir": tmp_path / "cache"}
    convert(address, tmp_path / "out", **cloud)
    tables = sorted(file.name for file in (tmp_path / "clean").iterdir())
    assert tables == sorted(file.name for file in (tmp_path / "out").iterdir())
    for table in tables:
        assert pq.read_table(tmp_path / "out" / table).equals(pq.read_table(tmp_path / "clean" / table))
    glob = address.removesuffix("P1") + "*"
    assert [found.name for found in find_plates(glob, None, Store.checked(cloud))] == (
        ["P1", "P2"] if kind == "sqlite" else ["P1"]
    )


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_nothing_hidden_arrives_as_a_plate(tmp_path, request, where):
    place = (
        arriving.folder(tmp_path / "in")
        if where == "folder"
        else arriving.bucket(request.getfixturevalue("server"), "littered-arrivals")
    )
    for name in (
        "B/P1/P1.sqlite",
        "B/P1/._P1.sqlite",
        "B/._P1/._P1.sqlite",
        "__MACOSX/P1/P1.sqlite",
        ".old/P2/P2.sqlite",
    ):
        place.put(name, b"SQLite format 3\0")
    for name in ("csv/P3/Cells.csv", "csv/.P3/Cells.csv", "csv/__MACOSX/Cells.csv"):
        place.put(name, b"ImageNumber,ObjectNumber\n1,1\n")
    for pattern, expected in (
        ("{batch}/{plate}/{plate}.sqlite", ["P1"]),
        ("csv/{plate}/", ["P3"]),
        ("B/P1/{plate}.sqlite", ["P1"]),
    ):
        assert arriving.names(place.look(place.look(Memory(), pattern).memory, pattern)) == expected
    memory = place.settled("csv/{plate}/")
    place.put("csv/P3/.snapshot/Cells.csv", b"ImageNumber,ObjectNumber\n1,2\n")
    place.put("csv/P3/._Cells.csv", APPLE)
    assert arriving.names(place.look(memory, "csv/{plate}/", every=True)) == []
    assert find_by_pattern(
        f"{place.root}{{batch}}/{{plate}}/{{plate}}.sqlite", "P1", Store.checked(place.cloud)
    ).uri.endswith("B/P1/P1.sqlite")
