"""Conversions whose results go to a store: nothing there before all is whole, killed ones gone on with, memory bounded.

What is the same as in a folder is tested by `test_convert`.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets
from cytotable_dagster.cli.main import main
from cytotable_dagster.core.errors import OptionError, SourceAccessError, SourceNotFoundError, StrictError, UploadError
from cytotable_dagster.core.storage import upload
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.demo.s3_server import S3Server, s3_client
from cytotable_dagster.demo.wide import write_wide_plate
from cytotable_dagster_tests.conftest import BUCKET
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.digests import digest, digests

FOUR = ["Cells.parquet", "Cytoplasm.parquet", "Image.parquet", "Nuclei.parquet"]
PART = 5 << 20


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scratch files of a test in a folder of its own."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plate whose tables are several parts each."""
    path = tmp_path_factory.mktemp("large") / "P1.sqlite"
    write_wide_plate(path, images=12, objects_per_image=300, features=600)
    return path


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PART_BYTES", PART)


def _begun(server: S3Server) -> list[str]:
    answer = s3_client(server.endpoint_url).list_multipart_uploads(Bucket=BUCKET)
    return [entry["Key"] for entry in answer.get("Uploads", [])]


def _digests(place: Destination) -> dict[str, str]:
    found = {}
    for stored in place.list():
        with place.open(stored.name) as file:
            found[stored.name] = digest(file.read())
    return found


_CONVERT = """
import json, sys
from cytotable_dagster import convert
from cytotable_dagster.core.storage import upload
upload.PART_BYTES = int(sys.argv[4])
convert(sys.argv[1], sys.argv[2], dest_cloud=json.loads(sys.argv[3]), chunk_size=100)
"""


def test_a_conversion_that_was_killed_is_gone_on_with(large, in_store, passing, results_server, small_parts, tmp_path):
    convert(large, tmp_path / "local", chunk_size=100)
    local = {path.name: path.stat().st_size for path in (tmp_path / "local").iterdir()}
    parts = sum(-(-size // PART) for size in local.values() if size >= PART)
    assert parts > 8

    passing.held["UploadPart"] = 5
    command = [
        sys.executable,
        "-c",
        _CONVERT,
        str(large),
        in_store.address(),
        json.dumps(in_store.store.options),
        str(PART),
    ]
    with subprocess.Popen(command) as killed:
        try:
            assert passing.holding.wait(100)
        finally:
            killed.kill()
    assert in_store.list() == []
    there = 0
    client = s3_client(results_server.endpoint_url)
    for begun in client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]:
        listed = client.list_parts(Bucket=BUCKET, Key=begun["Key"], UploadId=begun["UploadId"])
        there += len(listed.get("Parts", []))
    assert there > 0

    passing.clear()
    result = convert(large, in_store.address(), dest_cloud=in_store.store.options, chunk_size=100)
    assert passing.seen["UploadPart"] == parts - there
    assert _digests(in_store) == digests(tmp_path / "local")
    assert [output.size for output in result.outputs] == [local[output.path.name] for output in result.outputs]
    assert _begun(results_server) == []


@pytest.mark.parametrize("refused", ["UploadPart", "CompleteMultipartUpload"])
def test_a_conversion_whose_upload_fails_leaves_nothing(
    large, in_store, passing, results_server, small_parts, tmp_path, refused
):
    passing.refused[refused] = (400, "InvalidRequest")
    with pytest.raises(UploadError, match=f"s3://{BUCKET}/.*InvalidRequest"):
        convert(large, in_store.address("out"), dest_cloud=in_store.store.options)
    assert in_store.list() == []
    assert _begun(results_server) == []
    assert [name for name in names_in(tmp_path / "scratch") if name.startswith(".")] == []


def test_strict_publishes_nothing(make_plate, in_store, results_server, tmp_path):
    tables = plate(JUMP)
    tables["Cells"].add_column("Odd", "FLOAT", [1.5, "low"] + [1.0] * (len(tables["Cells"].rows) - 2))
    source = make_plate(tables)
    for name in ("out", "out.parquet"):
        with pytest.raises(StrictError):
            convert(source, in_store.address(name), strict=True, dest_cloud=in_store.store.options)
    assert in_store.list() == []
    assert _begun(results_server) == []


def test_a_plate_in_chunk_files_and_by_a_query(make_plate, in_store, passing, tmp_path):
    source = make_plate()
    convert(source, in_store.address("parts"), concat=False, chunk_size=1, dest_cloud=in_store.store.options)
    assert len(in_store.list("parts/Cells")) > 1
    result = convert(
        source,
        in_store.address("q.parquet"),
        joins="SELECT * FROM 'cells.parquet' WHERE Metadata_ObjectNumber = 1",
        dest_cloud=in_store.store.options,
    )
    with in_store.open("q.parquet") as file:
        assert pq.read_table(file).num_rows == result.outputs[0].rows > 0
    assert [name for name in names_in(tmp_path / "scratch") if name.startswith(".")] == []
    # The second of the chunk files that are put fails: the first does not stay.
    passing.refused["PutObject"] = (400, "InvalidRequest")
    passing.refused_from["PutObject"] = passing.seen["PutObject"] + 1
    with pytest.raises(UploadError):
        convert(source, in_store.address("no"), concat=False, chunk_size=1, dest_cloud=in_store.store.options)
    assert in_store.list("no") == []


def test_a_result_in_a_store_is_no_path_of_this_machine(make_plate, in_store):
    result = convert(make_plate(), in_store.address("out.parquet"), dest_cloud=in_store.store.options)
    assert str(result.path) == in_store.address("out.parquet")
    assert in_store.address() in str(result)
    with pytest.raises(OptionError, match="in a store"):
        os.fspath(result)


def test_source_and_destination_may_need_different_options(results_server, in_store, tmp_path):
    client = s3_client(results_server.endpoint_url)
    client.create_bucket(Bucket="public")
    content = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP)).read_bytes()
    client.put_object(Bucket="public", Key="P1.sqlite", Body=content, ACL="public-read")
    reading = {
        "endpoint_url": results_server.endpoint_url,
        "no_sign_request": True,
        "local_cache_dir": str(tmp_path / "cache"),
    }
    with pytest.raises(SourceAccessError, match="credentials"):
        convert("s3://public/P1.sqlite", in_store.address(), **reading)
    convert("s3://public/P1.sqlite", in_store.address(), dest_cloud=in_store.store.options, **reading)
    assert [stored.name for stored in in_store.list()] == FOUR


def test_a_bucket_that_is_not_there_is_said_before_the_plate_is_read(make_plate, store_options):
    with pytest.raises(SourceNotFoundError, match=r"s3://no-such/out.*NoSuchBucket"):
        convert(make_plate(), "s3://no-such/out", dest_cloud=store_options)


def test_several_plates_go_into_one_file_and_into_a_dataset(in_store, tmp_path):
    for name, cells in (("A", (3, 2)), ("B", (4, 0, 1))):
        write_sqlite(tmp_path / "plates" / f"{name}.sqlite", plate(JUMP, sites(*cells)))
    result = convert(tmp_path / "plates", in_store.address("all.parquet"), dest_cloud=in_store.store.options)
    with in_store.open("all.parquet") as file:
        table = pq.read_table(file)
    assert table.num_rows == 10
    assert str(result.path) == in_store.address("all.parquet")

    for _ in range(2):
        datasets.add(tmp_path / "plates" / "A.sqlite", in_store.address("ds"), dest_cloud=in_store.store.options)
    before = {stored.name: stored.stamp for stored in in_store.list("ds")}
    datasets.add(tmp_path / "plates" / "B.sqlite", in_store.address("ds"), dest_cloud=in_store.store.options)
    after = {stored.name: stored.stamp for stored in in_store.list("ds")}
    assert {name for name in before if name.endswith("/A.parquet") and after[name] != before[name]} == set()
    assert sorted(datasets.tables(in_store.address("ds"), **in_store.store.options)["Cells"].members) == ["A", "B"]
    assert datasets.remove(in_store.address("ds"), "A", **in_store.store.options)
    assert "A" not in datasets.tables(in_store.address("ds"), **in_store.store.options)["Cells"].members


def test_the_command_line_has_options_for_the_store_of_the_results(make_plate, in_store, monkeypatch, capsys):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    endpoint = in_store.store.options["endpoint_url"]
    arguments = ["convert", str(make_plate()), in_store.address("x.parquet"), "--endpoint-url", "http://127.0.0.1:1"]
    assert main([*arguments, "--dest-endpoint-url", endpoint]) == 0
    assert in_store.address("x.parquet") in capsys.readouterr().out
    assert main([*arguments, "--dest-endpoint-url", endpoint]) == 1
    said = capsys.readouterr().err
    assert f"{in_store.address('x.parquet')}: exists" in said
    assert "Traceback" not in said
