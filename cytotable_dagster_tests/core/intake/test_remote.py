"""Plates on S3: found, downloaded once, verified, kept; and what is said when that fails."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest

import cytotable_dagster
from cytotable_dagster import convert, datasets
from cytotable_dagster.core.errors import (
    DownloadError,
    OptionError,
    SourceAccessError,
    SourceFormatError,
    SourceNotFoundError,
)
from cytotable_dagster.core.intake.cache import fetch, kept
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.intake.discover import find_plate, plate_at
from cytotable_dagster.core.parquet.writing import read_facts
from cytotable_dagster.core.sources.sqlite.ahead import known_profile
from cytotable_dagster.core.storage.download import RANGE_BYTES
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite

pytest.importorskip("moto.server", reason="the S3 server needs the demo's extra: pip install cytotable-dagster[demo]")

from cytotable_dagster.demo.s3_server import S3Server, s3_client, s3_server, upload_tree
from cytotable_dagster.demo.wide import write_wide_plate
from cytotable_dagster_tests.digests import digest, digests

GALLERY = "cellpainting-gallery"
KEY = "cpg0016-jump/source_4/workspace/backend/2021_08_23_Batch12/BR00126114/BR00126114.sqlite"
FOUR = ["Cells.parquet", "Cytoplasm.parquet", "Image.parquet", "Nuclei.parquet"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server with one plate in the gallery, as the gallery has it."""
    tree = tmp_path_factory.mktemp("gallery")
    write_sqlite(tree / KEY, plate(JUMP, sites(3, 2)))
    with s3_server() as running:
        upload_tree(running, tree, GALLERY)
        yield running


@pytest.fixture(scope="module")
def client(server: S3Server) -> Any:
    return s3_client(server.endpoint_url)


@pytest.fixture
def uploaded(server: S3Server, client: Any, tmp_path: Path) -> tuple[str, dict]:
    """A plate of the test's own: its address, and the options that reach it."""
    uri = f"s3://{GALLERY}/tests/{tmp_path.name}/P1.sqlite"
    _put(client, uri, write_sqlite(tmp_path / "P1.sqlite", plate(JUMP)).read_bytes())
    return uri, _options(server, tmp_path / "cache")


def _options(server: S3Server, cache: Path) -> dict:
    return {"endpoint_url": server.endpoint_url, "no_sign_request": True, "local_cache_dir": str(cache)}


def _put(client: Any, uri: str, content: bytes) -> None:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    client.put_object(Bucket=bucket, Key=key, Body=content, ACL="public-read")


def _cached(options: dict, uri: str) -> Path:
    return Path(options["local_cache_dir"]) / uri.removeprefix("s3://")


def _identity(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.stat().st_mtime_ns


def _gallery_call(**more: object) -> cytotable_dagster.ConversionResult:
    """The call of the issue, as it stands there."""
    return cytotable_dagster.convert(
        source_path="s3://cellpainting-gallery/cpg0016-jump/source_4/workspace/backend/2021_08_23_Batch12/BR00126114/BR00126114.sqlite",
        source_datatype="sqlite",
        dest_path="./outputs/br00126114",
        dest_datatype="parquet",
        preset="cellprofiler_sqlite_cpg0016_jump",
        local_cache_dir="./sqlite_s3_cache",
        no_sign_request=True,
        chunk_size=30000,
        **more,
    )


def test_the_call_of_the_issue_works_as_it_stands(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint_url)
    (tmp_path / "outputs" / "br00126114").mkdir(parents=True)
    result = _gallery_call()
    assert names_in(tmp_path / "outputs" / "br00126114") == FOUR
    cached = tmp_path / "sqlite_s3_cache" / GALLERY / KEY
    assert hashlib.md5(cached.read_bytes()).hexdigest() == result.source.etag
    assert result.source.digest == f"md5:{result.source.etag}"
    assert {path.name for path in tmp_path.iterdir()} == {"outputs", "sqlite_s3_cache"}
    assert [path for path in names_in(tmp_path / "sqlite_s3_cache") if path.endswith(".sqlite")] == [f"{GALLERY}/{KEY}"]
    assert str(result).count("BR00126114") >= 1

    before = _identity(cached)
    _gallery_call(overwrite=True)
    assert _identity(cached) == before


def test_the_endpoint_may_be_given_and_the_joined_table_asked_for(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = convert(f"s3://{GALLERY}/{KEY}", "test.parquet", **_options(server, tmp_path / "cache"))
    assert pq.read_metadata(result).num_rows == 5
    facts = read_facts(result.path)
    assert facts["source_uri"] == f"s3://{GALLERY}/{KEY}"
    assert facts["source_etag"] == result.source.etag and facts["source_digest"] == f"md5:{result.source.etag}"
    assert facts["plate"] == "BR00126114"


@pytest.mark.parametrize("above", [1, 2])
def test_a_prefix_that_holds_one_plate_in_it_or_below_is_a_source(server, tmp_path, above):
    prefix = f"s3://{GALLERY}/{KEY.rsplit('/', above)[0]}/"
    result = convert(prefix, tmp_path / "out.parquet", **_options(server, tmp_path / "cache"))
    assert result.source.uri == f"s3://{GALLERY}/{KEY}"


def test_an_address_that_is_there_is_no_pattern(server, client, tmp_path):
    options = _options(server, tmp_path / "cache")
    for number, name in enumerate(("p[1]", "p1")):
        content = write_sqlite(tmp_path / f"{name}.sqlite", plate(JUMP, sites(2 + number))).read_bytes()
        _put(client, f"s3://{GALLERY}/odd/{name}/{name}.sqlite", content)
    for source, cells in (
        ("odd/p[1]/p[1].sqlite", {"p[1]": 2}),
        ("odd/p[1]", {"p[1]": 2}),
        ("odd/p[1]/*.sqlite", {"p[1]": 2}),
        ("odd/p[12]/p1.sqlite", {"p1": 3}),
        ("odd/p*/", {"p[1]": 2, "p1": 3}),
    ):
        datasets.add(f"s3://{GALLERY}/{source}", tmp_path / "set", targets=["Cells"], **options)
        found = datasets.tables(tmp_path / "set")["Cells"].members
        assert {name: member.content.rows for name, member in found.items()} == cells
        shutil.rmtree(tmp_path / "set")


def test_a_prefix_that_holds_no_plate_is_refused(server, tmp_path):
    with pytest.raises(SourceNotFoundError, match="nothing/here/"):
        convert(f"s3://{GALLERY}/nothing/here/", tmp_path / "out", **_options(server, tmp_path / "cache"))


def test_a_prefix_that_holds_several_plates_is_refused_naming_one(client, uploaded):
    uri, options = uploaded
    _put(client, uri.replace("P1", "P2"), b"x")
    with pytest.raises(SourceFormatError, match=r"2 plates.*P1\.sqlite"):
        find_plate(uri.rsplit("/", 1)[0], None, Store.checked(options))


def test_a_new_version_is_downloaded_again(client, uploaded, tmp_path):
    uri, options = uploaded
    first = convert(uri, tmp_path / "out.parquet", **options)
    content = write_sqlite(tmp_path / "new.sqlite", plate(JUMP, sites(1, 1, 1, 4))).read_bytes()
    _put(client, uri, content)
    second = convert(uri, tmp_path / "out.parquet", overwrite=True, **options)
    assert (first.outputs[0].rows, second.outputs[0].rows) == (5, 7)
    assert first.source.fingerprint != second.source.fingerprint
    assert digest(_cached(options, uri)) == digest(content)


def test_an_object_of_several_parts_has_an_etag_that_is_no_md5_and_is_kept_all_the_same(server, tmp_path):
    write_sqlite(tmp_path / "tree" / "P1.sqlite", plate(JUMP))
    (uri,) = upload_tree(server, tmp_path / "tree", "parts", multipart_threshold=1)
    options = _options(server, tmp_path / "cache")
    source = fetch(plate_at(uri), Cache.checked(options))
    assert "-" in source.etag
    content = (tmp_path / "tree" / "P1.sqlite").read_bytes()
    assert source.digest == f"md5:{hashlib.md5(content).hexdigest()}"
    before = _identity(source.path)
    assert fetch(plate_at(uri), Cache.checked(options)) == source
    assert _identity(source.path) == before


def _changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _gone(path: Path) -> None:
    path.unlink()


def _unrecorded(path: Path) -> None:
    for record in path.parent.glob(".*.json"):
        record.write_text("{}")


@pytest.mark.parametrize("damage", [_changed, _cut, _gone, _unrecorded])
def test_a_cached_file_that_is_not_what_was_downloaded_is_noticed(uploaded, tmp_path, damage):
    uri, options = uploaded
    source = fetch(plate_at(uri), Cache.checked(options))
    content = source.path.read_bytes()
    damage(source.path)
    assert fetch(plate_at(uri), Cache.checked(options)) == source
    assert digest(source.path) == digest(content)


def test_a_cached_file_that_was_only_touched_is_not_downloaded_again(uploaded):
    uri, options = uploaded
    source = fetch(plate_at(uri), Cache.checked(options))
    os.utime(source.path, (1, 1))
    before = source.path.stat().st_ino
    assert fetch(plate_at(uri), Cache.checked(options)) == source
    assert source.path.stat().st_ino == before


def test_what_a_killed_download_left_is_removed(uploaded):
    uri, options = uploaded
    folder = _cached(options, uri).parent
    folder.mkdir(parents=True)
    left = [folder / name for name in (".P1.sqlite.0123abcd.tmp", ".P1.sqlite.0123abcd.tmp.aB3dE6gH")]
    for path in left:
        path.write_bytes(b"half")
    fetch(plate_at(uri), Cache.checked(options))
    assert not any(path.exists() for path in left)


_COUNTED = """
import json, sys, time
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.intake import cache
from cytotable_dagster.core.intake import cached_file
from cytotable_dagster.core.model.types import Plate

real = cached_file.download
def counted(*arguments, **options):
    print("downloads", flush=True)
    time.sleep(1)
    return real(*arguments, **options)
cached_file.download = counted
print(cache.fetch(Plate("P1", sys.argv[1]), Cache.checked(json.loads(sys.argv[2]))).digest)
"""


def test_two_processes_that_want_one_plate_download_it_once(uploaded):
    import json

    uri, options = uploaded
    command = [sys.executable, "-c", _COUNTED, uri, json.dumps(options)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sorted(map(len, said)) == [1, 2]
    assert said[0][-1] == said[1][-1]


def test_an_empty_object_is_refused_and_not_kept(client, uploaded, tmp_path):
    uri, options = uploaded
    _put(client, uri, b"")
    with pytest.raises(SourceFormatError, match="0 bytes"):
        convert(uri, tmp_path / "out", **options)
    assert not _cached(options, uri).exists()


def test_an_object_that_is_no_plate_is_refused_naming_its_address(client, uploaded, tmp_path):
    uri, options = uploaded
    _put(client, uri, b"<html>sign in</html>")
    with pytest.raises(SourceFormatError, match="not a SQLite file"):
        convert(uri, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("uri", ["s3://no-such-bucket/P1.sqlite", f"s3://{GALLERY}/no/such/P1.sqlite"])
def test_an_object_or_bucket_that_is_not_there_is_named(server, tmp_path, uri):
    with pytest.raises(SourceNotFoundError, match=uri) as caught:
        convert(uri, tmp_path / "out", **_options(server, tmp_path / "cache"))
    assert isinstance(caught.value, FileNotFoundError)
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == []


def test_a_store_that_refuses_is_told_from_one_that_has_nothing(server, client, tmp_path):
    client.create_bucket(Bucket="private")
    client.put_object(Bucket="private", Key="P1.sqlite", Body=b"x")
    with pytest.raises(SourceAccessError, match=r"s3://private/P1\.sqlite.*refused") as caught:
        convert("s3://private/P1.sqlite", tmp_path / "out", **_options(server, tmp_path / "cache"))
    assert isinstance(caught.value, PermissionError)
    assert "\n" not in str(caught.value)


def test_without_credentials_a_signed_request_says_how_to_do_without(server, tmp_path):
    with pytest.raises(SourceAccessError, match="no_sign_request=True"):
        convert(f"s3://{GALLERY}/{KEY}", tmp_path / "out", endpoint_url=server.endpoint_url)


def test_an_endpoint_that_does_not_answer_is_a_download_error_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    options = {
        "endpoint_url": "http://127.0.0.1:9",
        "no_sign_request": True,
        "local_cache_dir": str(tmp_path / "cache"),
    }
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9") as caught:
        convert("s3://bucket/P1.sqlite", tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == []


def test_a_cache_that_is_a_file_is_refused(server, tmp_path):
    (tmp_path / "cache").write_text("mine")
    with pytest.raises(OptionError, match="local_cache_dir"):
        convert(f"s3://{GALLERY}/{KEY}", tmp_path / "out", **_options(server, tmp_path / "cache"))
    assert (tmp_path / "cache").read_text() == "mine"


@pytest.mark.parametrize("scheme", ["https", "ftp"])
def test_a_store_of_another_kind_is_refused_in_one_line(tmp_path, scheme):
    from cytotable_dagster.core.errors import CytoTableError

    with pytest.raises(CytoTableError, match=f"{scheme}://") as caught:
        convert(f"{scheme}://bucket/P1.sqlite", tmp_path / "out", no_sign_request=True, local_cache_dir=tmp_path / "c")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["it's 100 % #1/größe.sqlite", "a+b=c&d/P1.SQLITE", "plain.db"])
def test_keys_may_have_any_name(server, tmp_path, key):
    write_sqlite(tmp_path / "tree" / key, plate(JUMP))
    uploaded = upload_tree(server, tmp_path / "tree", f"names-{len(key)}")
    assert uploaded[0].endswith(key)
    result = convert(uploaded[0], tmp_path / "out.parquet", **_options(server, tmp_path / "cache"))
    assert result.source.plate == key.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def test_a_plate_of_several_ranges_is_read_while_it_comes(server, client, tmp_path):
    local = tmp_path / "P1.sqlite"
    write_wide_plate(local, images=2, objects_per_image=120)
    uri, options = f"s3://{GALLERY}/tests/{tmp_path.name}/P1.sqlite", _options(server, tmp_path / "cache")
    _put(client, uri, local.read_bytes())
    assert local.stat().st_size > RANGE_BYTES
    path = fetch(plate_at(uri), Cache.checked(options)).path
    assert known_profile(path, "Cells") is not None
    # By what was read ahead, without it, and from the file that was uploaded.
    results = [
        convert(uri, tmp_path / "ahead", **options),
        convert(uri, tmp_path / "again", **options),
        convert(local, tmp_path / "local"),
    ]
    for name in FOUR:
        tables = [pq.read_table(result[name.removesuffix(".parquet")]) for result in results]
        assert tables[0].num_rows
        assert tables[0].equals(tables[2])
    assert digests(tmp_path / "ahead") == digests(tmp_path / "again")


def test_head_tells_size_and_etag_without_the_content(uploaded, tmp_path):
    uri, options = uploaded
    found = Store.checked(options).client(uri).head(uri)
    content = (tmp_path / "P1.sqlite").read_bytes()
    assert (found.size, found.etag) == (len(content), hashlib.md5(content).hexdigest())
    assert not _cached(options, uri).exists()


class _LyingStore(BaseHTTPRequestHandler):
    """A store whose ETag is the MD5 of other content than it sends."""

    body = b"SQLite format 3\0" + b"wrong" * 100
    gets: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self.gets.append(self.path)
        self._answer()
        self.wfile.write(self.body)

    def _answer(self) -> None:
        self.send_response(200)
        self.send_header("ETag", '"d41d8cd98f00b204e9800998ecf8427e"')
        self.send_header("Content-Length", str(len(self.body)))
        self.send_header("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def test_content_that_does_not_match_its_etag_is_tried_again_then_refused_and_not_kept(tmp_path):
    store = ThreadingHTTPServer(("127.0.0.1", 0), _LyingStore)
    Thread(target=store.serve_forever, daemon=True).start()
    try:
        options = {
            "endpoint_url": f"http://127.0.0.1:{store.server_port}",
            "no_sign_request": True,
            "local_cache_dir": str(tmp_path / "cache"),
        }
        with pytest.raises(DownloadError, match=r"s3://bucket/P1\.sqlite.*MD5"):
            convert("s3://bucket/P1.sqlite", tmp_path / "out", **options)
    finally:
        store.shutdown()
        store.server_close()
    assert len(_LyingStore.gets) == 3
    assert [name for name in names_in(tmp_path / "cache") if name.endswith((".sqlite", ".tmp", ".json"))] == []
    assert not (tmp_path / "out").exists()


def test_a_cache_with_a_limit_makes_room_for_the_plate_that_is_wanted(server, client, tmp_path):
    content = write_sqlite(tmp_path / "P.sqlite", plate(JUMP)).read_bytes()
    uris = [f"s3://{GALLERY}/limit/{name}.sqlite" for name in ("A", "B", "C")]
    options = {**_options(server, tmp_path / "cache"), "cache_limit": 2 * len(content)}
    for uri in uris:
        _put(client, uri, content)
        convert(uri, tmp_path / f"{plate_at(uri).name}.parquet", **options)
    assert [_cached(options, uri).exists() for uri in uris] == [False, True, True]
    # The second is used again, so that the third goes.
    with kept(uris[1], Cache.checked(options)):
        fetch(plate_at(uris[0]), Cache.checked(options))
    assert [_cached(options, uri).exists() for uri in uris] == [True, True, False]
