"""Images in a store: found by listings and load_data, verified by ETags, and what a store that refuses does to them."""

from pathlib import Path

import polars as pl
import pytest

from cytotable_dagster import convert, crops
from cytotable_dagster.cli.main import main
from cytotable_dagster.core.images import find_provenance
from cytotable_dagster_tests.conftest import BUCKET
from cytotable_dagster_tests.core.images.painted import phenix, sqlite, write_files
from cytotable_dagster_tests.core.images.test_image_crops import cells, pixels_of, table_of, tables, write_images
from cytotable_dagster_tests.core.plates import write_sqlite

pytest.importorskip("moto.server", reason="the S3 server needs the demo's extra: pip install cytotable-dagster[demo]")

from cytotable_dagster.demo.plate import BUCKET as DEMO
from cytotable_dagster.demo.plate import write_plate
from cytotable_dagster.demo.s3_server import s3_client, upload_tree


@pytest.fixture
def uploaded(tmp_path, results_server):
    """The prefix of a plate's images, and the plate whose rule says they are there."""
    write_files(tmp_path / "tree" / tmp_path.name / "P1" / "Images")
    upload_tree(results_server, tmp_path / "tree", BUCKET)
    return f"s3://{BUCKET}/{tmp_path.name}", sqlite(tmp_path, recorded="/mnt/{plate}/Images")


def test_the_demos_images_are_all_verified_by_their_etags(tmp_path, results_server, store_options, passing):
    plate = write_plate(tmp_path / "s3", wells=2, sites_per_well=2, image_size=64)
    upload_tree(results_server, plate.folder, DEMO)
    options = {**store_options, "local_cache_dir": tmp_path / "cache"}
    source = f"s3://{DEMO}/{plate.sqlite_key}"
    result = convert(source, tmp_path / "out" / "cells.parquet", provenance=True, **options)
    assert result.provenance.counts == {"verified": plate.image_files}
    # Nothing but the SQLite file and load_data was fetched.
    assert {key for operation, key in passing.keys if operation == "GetObject" and key.endswith(".tiff")} == set()
    rows = pl.read_parquet(result.provenance.path)
    assert set(rows["found_by"]) == {"load_data"} and rows["uri"][0].startswith(f"s3://{DEMO}/")
    local = find_provenance(plate.sqlite, tmp_path / "local", image_dir=plate.images, verify="md5")
    assert local.counts == {"verified": plate.image_files}


def test_a_listed_prefix_is_asked_nothing_more(uploaded, tmp_path, store_options, passing):
    prefix, source = uploaded
    facts = find_provenance(source, tmp_path / "out", image_dir=prefix, **store_options)
    assert facts.counts == {"verified": 4} and passing.seen["HeadObject"] == 0
    rules = [{"from": "/mnt", "to": prefix}]
    facts = find_provenance(source, tmp_path / "out2", path_rules=rules, **store_options)
    assert facts.counts == {"verified": 4} and passing.seen["HeadObject"] == 4


def test_what_has_no_digest_for_etag_is_read_where_md5_is_asked_for(uploaded, tmp_path, store_options, results_server):
    prefix, source = uploaded
    client = s3_client(results_server.endpoint_url)
    key = f"{tmp_path.name}/P1/Images/{phenix(1, 1)}"
    body = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    part = client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=1, Body=body)
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    client.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload=parts)
    for verify, counts in (("exists", {"verified": 3, "present": 1}), ("md5", {"verified": 4})):
        facts = find_provenance(source, tmp_path / verify, image_dir=prefix, verify=verify, **store_options)
        assert facts.counts == counts


@pytest.mark.parametrize(("status", "code", "said"), [(403, "AccessDenied", "refused"), (404, "NoSuchKey", "no such"), (503, "SlowDown", "SlowDown")])  # fmt: skip
def test_what_a_store_refuses_is_missing_and_the_rest_goes_on(
    uploaded, tmp_path, store_options, passing, status, code, said, monkeypatch
):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    prefix, source = uploaded
    write_files(tmp_path / "here" / "P1" / "Images")
    rules = [{"from": "/mnt", "to": prefix}]
    passing.refused["HeadObject"] = (status, code)
    passing.refused_from["HeadObject"] = 2
    facts = find_provenance(source, tmp_path / "out", path_rules=rules, **store_options)
    assert facts.counts == {"verified": 2, "missing": 2}
    assert said in facts.text or str(status) in facts.text
    passing.refused.clear()
    assert find_provenance(source, tmp_path / "again", path_rules=rules, **store_options).counts == {"verified": 4}


def test_a_prefix_with_nothing_in_it_leaves_images_unmapped(uploaded, tmp_path, store_options):
    prefix, source = uploaded
    facts = find_provenance(source, tmp_path / "out", image_dir=f"{prefix}/none/", **store_options)
    assert facts.counts == {"unmapped": 4}


def test_provenance_goes_into_a_store_too(uploaded, tmp_path, store_options):
    prefix, source = uploaded
    facts = find_provenance(source, f"{prefix}/tables", image_dir=prefix, **store_options)
    assert str(facts.path) == f"{prefix}/tables/_about/provenance.parquet" and facts.rows == 4


def test_the_shell_goes_from_a_plate_in_a_store_to_pictures_there(
    tmp_path, results_server, store_options, monkeypatch, capsys
):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    write_images(tmp_path / "tree" / tmp_path.name / "images")
    write_sqlite(tmp_path / "tree" / tmp_path.name / "P1.sqlite", tables(Path("/mnt")))
    upload_tree(results_server, tmp_path / "tree", BUCKET)
    prefix = f"s3://{BUCKET}/{tmp_path.name}"

    def run(command, *arguments):
        options = ("--endpoint-url", store_options["endpoint_url"], "--local-cache-dir", str(tmp_path / "cache"))
        status = main([command, *arguments, *options])
        return status, capsys.readouterr()

    assert run("convert", f"{prefix}/P1.sqlite", f"{prefix}/out", "--join")[0] == 0
    images = ("--image-dir", f"{prefix}/images", "--verify", "exists")
    status, said = run("provenance", f"{prefix}/P1.sqlite", "--dest", f"{prefix}/out", *images)
    assert status == 0 and said.out.startswith(f"{prefix}/out/_about/provenance.parquet\n") and "6 present" in said.out
    few = ("crops", f"{prefix}/out", "--size", "8", "--limit", "4")
    status, said = run(*few, "--out", f"{prefix}/cells.png")
    assert (status, said.out) == (0, f"{prefix}/cells.png\n"), said.err
    status, said = run(*few, "--out", f"{prefix}/cells.png")
    assert status == 1 and said.err.endswith("exists; pass --overwrite to replace it, or another --out\n")
    assert run(*few, "--out", f"{prefix}/cells.png", "--overwrite")[0] == 0
    client = s3_client(results_server.endpoint_url)
    picture = client.get_object(Bucket=BUCKET, Key=f"{tmp_path.name}/cells.png")["Body"].read()
    assert picture.startswith(b"\x89PNG")
    lance = pytest.importorskip("lance")
    assert run(*few, "--out", f"{prefix}/cells.lance")[1].out == f"{prefix}/cells.lance\n"
    storage = {"endpoint": store_options["endpoint_url"], "allow_http": "true", "region": "us-east-1"}
    found = lance.dataset(f"{prefix}/cells.lance", storage_options=storage).to_table()
    # Each is what the same cells' crops are where the images lie here.
    write_images(tmp_path / "images")
    here = crops(cells(tmp_path), size=8, limit=4)
    assert (pixels_of(found) == pixels_of(table_of(here))).all()
