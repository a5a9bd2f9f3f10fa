"""Where results go: the same of a folder and of a store; and what a store does beyond that."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster.core.errors import (
    DownloadError,
    OptionError,
    SourceAccessError,
    SourceChangedError,
    SourceNotFoundError,
    UploadError,
)
from cytotable_dagster.core.storage import upload
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.local_destination import LocalDestination
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_destination import StoreDestination, destination_of
from cytotable_dagster_tests.conftest import BUCKET, StoreHere
from cytotable_dagster_tests.stores.servers import PROVIDERS

Stores = Callable[[str], StoreHere]

# The least that S3 takes for a part that is not the last.
PART = 5 << 20


@pytest.fixture(params=["folder", *PROVIDERS])
def place(request: pytest.FixtureRequest, tmp_path: Path, stores: Stores) -> Destination:
    return (
        destination_of(tmp_path / "out", Store())
        if request.param == "folder"
        else stores(request.param).place(tmp_path.name)
    )


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def begun(stores: Stores) -> Callable[[Destination], list[str]]:
    """What uploads left in a place's store."""

    def begun(place: Destination) -> list[str]:
        return (
            stores(place.address().partition(":")[0]).server.begun(BUCKET)
            if isinstance(place, StoreDestination)
            else []
        )

    return begun


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PART_BYTES", PART)


def _content(size: int, seed: int = 0) -> bytes:
    return hashlib.shake_128(bytes([seed])).digest(size)


def _write(place: Destination, name: str, content: bytes) -> None:
    with place.create(name) as out:
        for start in range(0, len(content), 1_000_003):
            out.write(content[start : start + 1_000_003])


def _read(place: Destination, name: str) -> bytes:
    with place.open(name) as file:
        return file.read()


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART + 5])
def test_what_is_written_is_there_under_its_name_when_the_block_ends(place, small_parts, size):
    content = _content(size)
    with place.create("a/b.bin") as out:
        assert out.write(content) == size
        assert out.tell() == size
        assert place.list() == []
    (stored,) = place.list()
    assert (stored.name, stored.size) == ("a/b.bin", size)
    assert _read(place, "a/b.bin") == content
    _write(place, "a/b.bin", content + b"x")
    assert [later.stamp for later in place.list()] != [stored.stamp]


def test_what_is_there_already_is_not_written_again(place):
    place.keep(b"picture", "a.png")
    (first,) = place.list()
    place.keep(b"picture", "a.png")
    assert place.list() == [first]
    place.keep(b"another", "a.png")
    assert _read(place, "a.png") == b"another"
    place.keep(b"longer than it was", "a.png")
    assert _read(place, "a.png") == b"longer than it was"


def test_what_is_there_already_is_known_by_its_digest(stores, tmp_path):
    there = stores("s3")
    place = there.place(tmp_path.name)
    place.keep(b"picture", "a.png")
    there.passing.clear()
    place.keep(b"picture", "a.png")
    assert set(there.passing.seen) == {"HeadObject"}


def test_a_block_that_fails_leaves_what_was_there(place, begun, small_parts):
    _write(place, "a.bin", b"old")
    for size in (1, 2 * PART + 1):
        with pytest.raises(ZeroDivisionError), place.create("a.bin") as out:
            out.write(_content(size))
            out.write(str(1 // 0).encode())
    assert [stored.name for stored in place.list()] == ["a.bin"]
    assert _read(place, "a.bin") == b"old"
    assert begun(place) == []


def test_files_are_put_listed_and_removed(place, tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    for name in ("b/two", "a", "b/c/three", ".hidden", "b/.hidden/four", "b2/five"):
        place.put(tmp_path / "file", name)
    assert [stored.name for stored in place.list()] == ["a", "b/c/three", "b/two", "b2/five"]
    assert [stored.name for stored in place.list("b")] == ["b/c/three", "b/two"]
    assert place.list("no") == []
    place.remove("b/two")
    place.remove("b/two")
    assert [stored.name for stored in place.list("b")] == ["b/c/three"]
    assert _read(place, "b/c/three") == b"content"
    with pytest.raises(FileNotFoundError, match="b/two"):
        place.open("b/two")


def test_parquet_is_written_to_it_and_read_from_it(place):
    table = pa.table({f"c{number}": pa.array(range(500)) for number in range(100)})
    with place.create("t.parquet") as out, pq.ParquetWriter(out, table.schema) as writer:
        writer.write_table(table.slice(0, 200))
        writer.write_table(table.slice(200))
    with place.open("t.parquet") as file:
        assert pq.read_metadata(file).num_row_groups == 2
    with place.open("t.parquet") as file:
        assert pq.ParquetFile(file).read(["c7", "c99"]) == table.select(["c7", "c99"])


def test_a_footer_is_read_without_the_rest(in_store, passing, small_parts):
    table = pa.table({"c": pa.array(range(4 << 20), pa.int64())})
    with in_store.create("t.parquet") as out:
        pq.write_table(table, out, compression="none", use_dictionary=False)
    passing.clear()
    with in_store.open("t.parquet") as file:
        assert pq.read_metadata(file).num_rows == 4 << 20
    assert passing.seen["HeadObject"] == 1
    assert passing.seen["GetObject"] <= 2


def test_a_bucket_itself_is_a_destination(store_here, provider):
    store_here.server.create_bucket("whole")
    place = destination_of(f"{provider}://whole", Store.checked(store_here.options))
    _write(place, "a/b", b"c")
    assert [stored.name for stored in place.list()] == [stored.name for stored in place.list("a")] == ["a/b"]
    assert place.address("a/b") == f"{provider}://whole/a/b"


def test_a_destination_travels_between_processes(in_store):
    _write(in_store, "a", b"b")
    assert _read(pickle.loads(pickle.dumps(in_store)), "a") == b"b"


_WRITER = """
import json, sys
from pathlib import Path
from cytotable_dagster.core.storage import upload
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_destination import destination_of
upload.PART_BYTES = int(sys.argv[4])
destination_of(sys.argv[1], Store.checked(json.loads(sys.argv[2]))).put(Path(sys.argv[3]), "large.bin")
"""


def test_an_upload_that_was_killed_is_gone_on_with(in_store, store_options, passing, begun, small_parts, tmp_path):
    content = _content(6 * PART + 7)
    (tmp_path / "large.bin").write_bytes(content)
    passing.held["UploadPart"] = 4
    command = [
        sys.executable,
        "-c",
        _WRITER,
        in_store.address(),
        json.dumps(store_options),
        str(tmp_path / "large.bin"),
    ]
    with subprocess.Popen([*command, str(PART)]) as writer:
        try:
            assert passing.holding.wait(100)
        finally:
            writer.kill()
    assert in_store.list() == []
    # What the writer sent last may still be on its way.
    there = len(in_store.client.begun(in_store.address("large.bin")).parts)
    assert 1 <= there <= 4

    passing.clear()
    # One of the parts is not what would be sent now.
    changed = content[:10] + b"!" + content[11:]
    (tmp_path / "large.bin").write_bytes(changed)
    in_store.put(tmp_path / "large.bin", "large.bin")
    assert 7 - 4 + 1 <= passing.seen["UploadPart"] <= 7 - there + 1
    assert passing.seen["CreateMultipartUpload"] == 0
    assert _read(in_store, "large.bin") == changed
    assert begun(in_store) == []


@pytest.mark.parametrize("refused", ["UploadPart", "CompleteMultipartUpload", "CreateMultipartUpload", "PutObject"])
def test_an_upload_that_the_store_refuses_is_one_line_and_leaves_nothing(
    in_store, provider, passing, begun, small_parts, tmp_path, refused
):
    if refused == "CreateMultipartUpload" and provider != "s3":
        pytest.skip("no request begins an upload there")
    passing.refused[refused] = (403, "AccessDenied")
    with pytest.raises(
        SourceAccessError, match=rf"{provider}://{BUCKET}/{tmp_path.name}/.*AccessDenied.*may write"
    ) as caught:
        _write(in_store, "a", _content(3 if refused == "PutObject" else 7 * PART))
    assert "\n" not in str(caught.value)
    assert in_store.list() == []
    assert begun(in_store) == []


def test_whoever_may_not_list_uploads_may_still_write(in_store, passing, small_parts):
    passing.refused["ListMultipartUploads"] = passing.refused["ListParts"] = (403, "AccessDenied")
    _write(in_store, "a", _content(PART + 1))
    assert _read(in_store, "a") == _content(PART + 1)


def test_an_error_of_the_store_comes_through_a_parquet_writer(in_store, passing, begun, small_parts):
    passing.refused["UploadPart"] = (400, "InvalidRequest")
    table = pa.table({"c": pa.array(range(1 << 20), pa.int64())})
    with (
        pytest.raises(UploadError, match="InvalidRequest"),
        in_store.create("t.parquet") as out,
        pq.ParquetWriter(out, table.schema, compression="none", use_dictionary=False) as writer,
    ):
        for _ in range(9):
            writer.write_table(table)
    assert in_store.list() == []
    assert begun(in_store) == []


def test_a_file_that_is_replaced_while_it_is_read_is_noticed(in_store):
    _write(in_store, "a", _content(3 << 20))
    with in_store.open("a") as file:
        file.read(10)
        _write(in_store, "a", _content(3 << 20, seed=1))
        with pytest.raises(SourceChangedError, match="replaced"):
            file.read()


def test_a_bucket_that_is_not_there_is_named(store_options, provider):
    place = destination_of(f"{provider}://no-such-bucket/x", Store.checked(store_options))
    with pytest.raises(SourceNotFoundError, match=rf"{provider}://no-such-bucket/x/a.*no such bucket"):
        _write(place, "a", b"b")
    with pytest.raises(SourceNotFoundError, match=f"{provider}://no-such-bucket/x"):
        place.list()


def test_a_store_that_is_away_is_said_so(store_here, provider, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    away = Store.checked(store_here.server.options("http://127.0.0.1:1"))
    place = destination_of(f"{provider}://{BUCKET}/x", away)
    with pytest.raises(UploadError, match=rf"{provider}://{BUCKET}/x/a.*cannot be reached"):
        _write(place, "a", b"b")
    with pytest.raises(DownloadError, match=rf"{provider}://{BUCKET}/x.*cannot be reached"):
        place.list()


@pytest.mark.parametrize("address", ["ftp://bucket/x", "s3://", "s3:///", "gs://"])
def test_other_addresses_are_refused(address):
    with pytest.raises(OptionError, match=address):
        destination_of(address, Store())


def test_an_address_says_what_kind_of_place_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert destination_of("out", Store()) == LocalDestination(tmp_path / "out")
    assert destination_of("s3://b/p/", Store()) == StoreDestination("s3://b/p", Store())
    assert os.fspath(destination_of("out", Store()).address("a")) == str(tmp_path / "out" / "a")


def test_as_much_as_an_object_may_be_fits_into_its_parts():
    assert sum(upload.part_bytes(number) for number in range(1, 10_001)) > 10**12
    assert upload.part_bytes(1) == upload.part_bytes(2000) == upload.PART_BYTES
