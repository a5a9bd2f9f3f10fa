"""A plate in a store is named by its address, and not by where its copy lies: in errors, and in what reports tell."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cytotable_dagster import convert, datasets, inspect_plate
from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.intake.discover import find_plate
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.lake.plans import prepare
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster_tests.conftest import BUCKET
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.core.sources.csv import test_combined, test_csv
from cytotable_dagster_tests.core.sources.npz import test_npz

if TYPE_CHECKING:
    from cytotable_dagster.demo.s3_server import S3Server


def _parquet(path: Path) -> None:
    convert(write_sqlite(path.with_suffix(".sqlite"), plate(JUMP, sites(4, 2))), path)
    path.with_suffix(".sqlite").unlink()


MAKE = {
    "P1.sqlite": lambda path: write_sqlite(path, plate(JUMP, sites(40, 2))),
    "P1/Cells.csv": lambda path: test_csv.site(path.parent),
    "P1/object.csv": lambda path: test_combined.site(path.parent),
    "P1/1.npz": test_npz.site,
    "P1.parquet": _parquet,
}


def _inspected(source: str, _: Path, **cloud: Any) -> None:
    inspect_plate(source, cloud=cloud)


def _prepared(source: str, dest: Path, **cloud: Any) -> None:
    cache = Cache.checked(cloud)
    prepare(find_plate(source, None, cache.store), PlateFolder(dest / "lake"), None, Options(), cache)


@pytest.fixture
def upload(results_server: "S3Server", tmp_path: Path) -> Callable[[Path], str]:
    """Put a folder into a prefix of the test's own; its address."""
    from cytotable_dagster.demo.s3_server import upload_tree

    def put(folder: Path) -> str:
        above = tmp_path / "bucket"
        above.mkdir()
        folder.rename(above / tmp_path.name)
        upload_tree(results_server, above, BUCKET)
        return f"s3://{BUCKET}/{tmp_path.name}"

    return put


@pytest.mark.parametrize(
    ("file", "broken"),
    [
        ("P1.sqlite", lambda content: b"no database"),
        ("P1.sqlite", lambda content: content[:-5000]),
        # A page of a table, which is read when rows are looked through.
        ("P1.sqlite", lambda content: content[:20000] + b"\xff" * 20000 + content[40000:]),
        ("P1/Cells.csv", lambda content: b"\0" * 100),
        ("P1/Cells.csv", lambda content: content.replace(b"Area", b"\xff")),
        ("P1/object.csv", lambda content: content.replace(b"4.5", b"\xff")),
        ("P1/1.npz", lambda content: content[:-100]),
        ("P1.parquet", lambda content: content[:-100]),
    ],
    ids=["no database", "cut short", "damaged", "no text", "encoding", "combined encoding", "no archive", "no footer"],
)
def test_an_error_names_the_address(upload, store_options, tmp_path, file, broken):
    path = tmp_path / "made" / file
    MAKE[file](path)
    content = path.read_bytes()
    path.write_bytes(broken(content))
    assert path.read_bytes() != content
    address = f"{upload(tmp_path / 'made')}/{file}"
    source = address if "/" not in file else f"{address.rpartition('/')[0]}/"
    for number, door in enumerate((convert, datasets.add, _inspected, _prepared)):
        with pytest.raises(CytoTableError) as caught:
            door(source, tmp_path / f"out-{number}", local_cache_dir=tmp_path / "cache", **store_options)
        message = str(caught.value)
        assert message.startswith(f"{address}: ")
        assert len(message.splitlines()) == 1
        assert str(tmp_path) not in message


def test_a_report_names_the_address(upload, store_options, tmp_path):
    test_csv.site(tmp_path / "made" / "site1")
    test_csv.site(tmp_path / "made" / "site2", image=2)
    with (tmp_path / "made" / "site2" / "Cells.csv").open("a") as cells:
        cells.write("1,1\n")
    test_combined.site(tmp_path / "made" / "site3").joinpath("object.csv").write_bytes(b"")
    address = upload(tmp_path / "made")
    result = convert(f"{address}/", tmp_path / "out", local_cache_dir=tmp_path / "cache", **store_options)
    told = dict(result.report.skipped)
    assert told[f"{address}/site2/Cells.csv, line 5"].startswith("2 fields")
    assert told[f"{address}/site3/object.csv"] == "empty (0 bytes)"
    assert str(tmp_path / "cache") not in str(result.report)
