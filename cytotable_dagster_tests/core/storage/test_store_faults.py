"""A store that fails, lies or does not answer: the right bytes, or one line in the end; and nothing wrong is kept."""

import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cytotable_dagster import convert
from cytotable_dagster.core.conversion.several import Request
from cytotable_dagster.core.errors import (
    CytoTableError,
    DamagedCopyError,
    DamagedSourceError,
    DownloadError,
    OptionError,
    SourceChangedError,
    UnsafeNameError,
)
from cytotable_dagster.core.intake import cache_room
from cytotable_dagster.core.intake.addresses import Pattern
from cytotable_dagster.core.intake.cache import fetch, fetched, kept
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.intake.discover import find_plates, plate_at
from cytotable_dagster.core.intake.listing import listing
from cytotable_dagster.core.model.types import Plate
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.storage import answers, download, s3_session
from cytotable_dagster.core.storage.address import place_of
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster.core.support.patience import within
from cytotable_dagster_tests.conftest import BUCKET
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.digests import digest
from cytotable_dagster_tests.stores.between import Answer, Between

MIB = 1 << 20
PART = 5 * MIB
FOR_EVER = 1 << 30


@pytest.fixture
def options(store_options, tmp_path) -> dict[str, Any]:
    return {**store_options, "local_cache_dir": str(tmp_path / "cache")}


@pytest.fixture
def direct(results_server) -> Any:
    from cytotable_dagster.demo.s3_server import s3_client

    return s3_client(results_server.endpoint_url)


@pytest.fixture
def large(direct, tmp_path) -> Iterator[tuple[str, bytes]]:
    """An object of three parts, which is downloaded in two ranges: its address and content."""
    content = random.Random(str(tmp_path)).randbytes(2 * PART + 77)
    uri = f"s3://{BUCKET}/{tmp_path.name}/P1.sqlite"
    put_in_parts(direct, uri, content)
    yield uri, content


@pytest.fixture
def small(direct, tmp_path) -> tuple[str, bytes]:
    """A plate in one part."""
    uri = f"s3://{BUCKET}/{tmp_path.name}/P1.sqlite"
    content = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(2, 1))).read_bytes()
    put(direct, uri, content)
    return uri, content


def put(client: Any, uri: str, content: bytes) -> None:
    bucket, key = place_of(uri)
    client.put_object(Bucket=bucket, Key=key, Body=content)


def put_in_parts(client: Any, uri: str, content: bytes) -> None:
    bucket, key = place_of(uri)
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    place = {"Bucket": bucket, "Key": key, "UploadId": upload}
    parts = [
        {
            "PartNumber": number,
            "ETag": client.upload_part(**place, PartNumber=number, Body=content[at : at + PART])["ETag"],
        }
        for number, at in enumerate(range(0, len(content), PART), 1)
    ]
    client.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})


def times(count: int, alter: Callable[[Answer], None]) -> Callable[[Answer], None]:
    """The first answers only."""

    def some(answer: Answer) -> None:
        if answer.number < count:
            alter(answer)

    return some


def flip(answer: Answer) -> None:
    content = bytearray(answer.content)
    content[len(content) // 2] ^= 1
    answer.content = bytes(content)


def cut(then: str, after: int = 1000) -> Callable[[Answer], None]:
    def alter(answer: Answer) -> None:
        answer.cut, answer.then = after, then

    return alter


def of_unknown_parts(answer: Answer) -> None:
    """As an object of several parts whose sizes nobody knows."""
    answer.headers["Etag"] = '"0123456789abcdef0123456789abcdef-3"'
    answer.headers.pop("X-Amz-Checksum-Crc32", None)


def kept_files(options: dict[str, Any]) -> list[str]:
    """What is in the cache, but for what is there to be locked."""
    folder = Path(options["local_cache_dir"])
    return [name for name in names_in(folder) if (folder / name).is_file() and not name.endswith((".lock", ".use"))]


def one_line_of(error: BaseException) -> str:
    said = str(error)
    assert said
    assert len(said.splitlines()) == 1
    return said


def test_a_flipped_byte_of_an_object_of_several_parts_is_fetched_again(passing: Between, large, options):
    uri, content = large
    passing.altered["GetObject"] = times(1, flip)
    source = fetch(plate_at(uri), Cache.checked(options))
    assert digest(source.path) == digest(content)
    assert "-" in (source.etag or "")
    assert source.unverified == ""
    assert passing.seen["GetObject"] == 4


def test_a_byte_that_is_flipped_each_time_is_an_error_and_nothing_is_kept(passing: Between, large, options):
    passing.altered["GetObject"] = flip
    with pytest.raises(DownloadError, match=r"MD5 of its 3 parts") as caught:
        fetch(plate_at(large[0]), Cache.checked(options))
    one_line_of(caught.value)
    assert kept_files(options) == []
    passing.altered.clear()
    assert digest(fetch(plate_at(large[0]), Cache.checked(options)).path) == digest(large[1])


@pytest.mark.parametrize("then", ["reset", "short"])
def test_a_range_that_breaks_off_goes_on_where_it_did(passing: Between, large, options, then):
    passing.altered["GetObject"] = times(2, cut(then))
    assert digest(fetch(plate_at(large[0]), Cache.checked(options)).path) == digest(large[1])
    assert passing.seen["GetObject"] == 4


def test_content_that_cannot_be_compared_is_told_in_the_report(passing: Between, direct, small, options, tmp_path):
    passing.altered.update({"HeadObject": of_unknown_parts, "GetObject": of_unknown_parts})
    unheeded(passing)
    result = convert(small[0], tmp_path / "out", **options)
    (note,) = [note for note in result.report.notes if "unverified" in note]
    assert note.startswith(f"{small[0]}: unverified")
    assert note in str(result.report)


def unheeded(passing: Between) -> None:
    """The store takes no notice of If-Match, as some do."""
    passing.heedless = True


def test_an_object_that_is_replaced_while_it_is_downloaded_is_fetched_anew(
    passing: Between, direct, large, options, monkeypatch
):
    monkeypatch.setattr(download, "RANGES_AT_ONCE", 1)
    other = large[1][::-1]
    passing.altered["GetObject"] = times(1, lambda answer: put_in_parts(direct, large[0], other))
    assert digest(fetch(plate_at(large[0]), Cache.checked(options)).path) == digest(other)


def test_one_that_is_replaced_again_and_again_is_an_error(passing: Between, direct, large, options):
    def replace(answer: Answer) -> None:
        put(direct, large[0], large[1] + bytes(answer.number))

    passing.altered["HeadObject"] = replace
    with pytest.raises(SourceChangedError, match="was replaced") as caught:
        fetch(plate_at(large[0]), Cache.checked(options))
    one_line_of(caught.value)
    assert kept_files(options) == []


def test_a_store_that_takes_no_notice_of_the_version_is_seen_through(passing: Between, direct, large, options):
    unheeded(passing)

    def replace(answer: Answer) -> None:
        put(direct, large[0], bytes(len(large[1])))

    passing.altered["HeadObject"] = times(1, replace)
    assert digest(fetch(plate_at(large[0]), Cache.checked(options)).path) == digest(bytes(len(large[1])))


@pytest.mark.parametrize(
    ("operation", "then"),
    [("HeadObject", "hold"), ("GetObject", "hold"), ("GetObject", "stall"), ("GetObject", "drip")],
)
def test_a_store_that_falls_silent_is_given_up(passing: Between, large, options, monkeypatch, operation, then):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3_session, "READ_SECONDS", 1 if then == "hold" else 60)
    monkeypatch.setattr(download, "_SILENT", 2 if then != "drip" else 60)
    monkeypatch.setattr(download, "_SLOW_SECONDS", 2)
    if then == "hold":
        passing.held[operation] = 0
    else:
        passing.altered[operation] = cut(then)
    with pytest.raises(DownloadError, match=re.escape(large[0])) as caught:
        fetch(plate_at(large[0]), Cache.checked(options))
    one_line_of(caught.value)
    assert kept_files(options) == []


def test_a_call_that_does_not_end_is_left_to_itself():
    import threading

    with pytest.raises(TimeoutError, match=r"within 0\.1 s"):
        within(0.1, threading.Event().wait)
    assert within(60, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(60, lambda: 1 // 0)


@pytest.mark.parametrize("operation", ["HeadObject", "GetObject", "ListObjects"])
@pytest.mark.parametrize(
    ("status", "code"), [(307, "TemporaryRedirect"), (301, "PermanentRedirect"), (400, "Bad\nOne")]
)
def test_a_store_that_sends_elsewhere_for_ever_is_one_line(
    passing: Between, small, options, operation, status, code, monkeypatch
):
    monkeypatch.setattr(download, "_BETWEEN", 0.01)
    passing.refused[operation] = (status, code)
    address = small[0] if operation != "ListObjects" else small[0].rsplit("/", 1)[0]
    with pytest.raises(DownloadError) as caught:
        convert(address, "nowhere", **options)
    one_line_of(caught.value)
    assert passing.seen.total() < 30


@pytest.mark.parametrize(
    "endpoint",
    [
        "nonsense",
        "http://",
        "http://[",
        "://x",
        "http://x:99999999",
        "http://" + "x" * 70 + ".example",
        "file:///etc/passwd",
        "",
    ],
)
def test_a_nonsense_endpoint_is_one_line(options, endpoint, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(CytoTableError) as caught:
        fetch(Plate("P1", "s3://bucket/P1.sqlite"), Cache.checked({**options, "endpoint_url": endpoint or "http:// x"}))
    one_line_of(caught.value)


@pytest.mark.parametrize(
    "endpoint", ["http://user:secret@127.0.0.1:9", "http://secret@127.0.0.1:9", "user:secret@host"]
)
def test_a_password_in_the_endpoint_is_shown_nowhere(options, endpoint, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    options = {**options, "endpoint_url": endpoint}
    for work in (
        lambda: fetch(Plate("P1", "s3://bucket/P1.sqlite"), Cache.checked(options)),
        lambda: find_plates("s3://bucket/plates/", None, Store.checked(options)),
        lambda: convert(write_sqlite(tmp_path / "P1.sqlite", plate(JUMP)), "s3://bucket/out", **options),
    ):
        with pytest.raises(CytoTableError) as caught:
            work()
        shown = "".join(traceback.format_exception(caught.value))
        assert "secret" not in shown + repr(caught.value)
    assert "secret" not in repr(destination_of("s3://bucket/out", Store.checked(options))) + repr(
        Request(Options(), cache=Cache.checked(options))
    )


def test_a_name_with_a_star_in_it_is_a_plate_like_others(direct, options, tmp_path):
    folder = f"s3://{BUCKET}/{tmp_path.name}"
    for name in ("a*b.sqlite", "c.sqlite", "[d].sqlite"):
        put(direct, f"{folder}/{name}", b"x")
    found = find_plates(f"{folder}/*.sqlite", None, Store.checked(options))
    assert [found_plate.name for found_plate in found] == ["[d]", "a*b", "c"]
    assert [p.name for p in find_plates(f"{folder}/a[*]b.sqlite", None, Store.checked(options))] == ["a*b"]


def in_circles(answer: Answer) -> None:
    """A page that says that more comes, and is the same each time."""
    more = b"<IsTruncated>true</IsTruncated><NextContinuationToken>same</NextContinuationToken>"
    answer.content = re.sub(rb"<IsTruncated>false</IsTruncated>", more, answer.content)


def nothing_but_more(answer: Answer) -> None:
    in_circles(answer)
    answer.content = re.sub(rb"<Contents>.*</Contents>", b"", answer.content, flags=re.DOTALL)
    answer.content = answer.content.replace(b">same<", f">{answer.number}<".encode())


@pytest.mark.parametrize("page", [in_circles, nothing_but_more])
def test_a_listing_that_never_ends_is_one_line(passing: Between, small, options, page, monkeypatch):
    folder = small[0].rsplit("/", 1)[0]
    monkeypatch.setattr(answers, "EMPTY_PAGES", 3)
    passing.altered["ListObjects"] = page
    passing.heedless = True
    with pytest.raises(DownloadError, match="in circles") as caught:
        find_plates(folder, None, Store.checked(options))
    one_line_of(caught.value)
    for text in (f"{folder}/{{plate}}.sqlite", f"{folder.rsplit('/', 1)[0]}/{{plate}}/"):
        with listing(Pattern(text), Store.checked(options)) as source, pytest.raises(DownloadError, match="in circles"):
            batch = source.batches()[0]
            after = source.page(batch, "").after
            source.page(batch, after or "")
            source.look(f"{folder}/")


@pytest.mark.parametrize(
    "key", ["../../../evil/Cells.csv", "elsewhere/Cells.csv", "{}/../../../evil/Cells.csv", "{}/a\\..\\Cells.csv"]
)
def test_a_key_that_leads_out_of_the_cache_is_refused(passing: Between, direct, options, tmp_path, key):
    folder = f"{tmp_path.name}/plate"
    put(direct, f"s3://{BUCKET}/{folder}/Cells.csv", b"ImageNumber\n1\n")

    def listed(answer: Answer) -> None:
        answer.content = answer.content.replace(f"{folder}/Cells.csv".encode(), key.format(folder).encode())

    passing.altered["ListObjects"] = listed
    before = set(names_in(tmp_path))
    with pytest.raises((UnsafeNameError, DownloadError), match=r"csv") as caught:
        fetch(Plate("plate", f"s3://{BUCKET}/{folder}/"), Cache.checked(options))
    one_line_of(caught.value)
    assert not any(name.endswith(".csv") for name in set(names_in(tmp_path)) - before)


@pytest.mark.parametrize("uri", ["s3://bucket/../P1.sqlite", "s3://bucket//etc/P1.sqlite", "s3://../x/P1.sqlite"])
def test_an_address_that_leads_out_of_the_cache_is_refused_before_anything_is_asked(passing: Between, options, uri):
    for work in (
        lambda: fetch(Plate("P1", uri), Cache.checked(options)),
        lambda: kept(uri, Cache.checked(options)).__enter__(),
    ):
        with pytest.raises(UnsafeNameError) as caught:
            work()
        one_line_of(caught.value)
    assert passing.seen.total() == 0
    assert not Path(options["local_cache_dir"]).exists()


def _spoil(path: Path) -> None:
    """Change the content of a copy, as a disk may, without a trace: the header, so that it is noticed."""
    facts = path.stat()
    content = bytearray(path.read_bytes())
    content[0:4] = b"spoi"
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def test_a_copy_that_turns_out_damaged_is_fetched_once_more(passing: Between, small, options, tmp_path):
    source = fetch(plate_at(small[0]), Cache.checked(options))
    _spoil(source.path)
    convert(small[0], tmp_path / "out", **options)
    assert digest(source.path) == digest(small[1])
    assert passing.seen["GetObject"] == 2
    _spoil(source.path)
    with pytest.raises(DamagedCopyError, match="fetched again"), fetched(plate_at(small[0]), Cache.checked(options)):
        raise DamagedSourceError("the reader says so")
    assert not source.path.exists()


def test_a_copy_that_turns_out_damaged_is_no_reason_to_skip_the_plate(passing, direct, small, options, tmp_path):
    broken, gone = (small[0].replace("P1.sqlite", name) for name in ("P2.sqlite", "P3/"))
    put(direct, broken, small[1][:-4096] + b"x" * 4096)
    _spoil(fetch(plate_at(small[0]), Cache.checked(options)).path)
    result = convert(iter([small[0], broken, gone]), tmp_path / "out", on_error="skip", **options)
    assert [source.plate for source in result.sources] == ["P1"]
    assert sorted(name for name, _ in result.report.skipped_plates) == ["P2", gone]


def test_a_plate_that_is_damaged_in_the_store_is_not_fetched_again(passing: Between, direct, small, options, tmp_path):
    put(direct, small[0], small[1][:-4096] + b"x" * 4096)
    passing.clear()
    for _ in range(2):
        with pytest.raises(CytoTableError) as caught:
            convert(small[0], tmp_path / "out", **options)
        assert not isinstance(caught.value, DownloadError)
    assert passing.seen["GetObject"] == 1


def test_one_that_could_not_be_compared_is_fetched_once_more_and_no_more(passing, direct, small, options, tmp_path):
    put(direct, small[0], small[1][:-4096] + b"x" * 4096)
    passing.altered.update({"HeadObject": of_unknown_parts, "GetObject": of_unknown_parts})
    unheeded(passing)
    for _ in range(2):
        with pytest.raises(CytoTableError) as caught:
            convert(small[0], tmp_path / "out", **options)
        assert not isinstance(caught.value, DownloadError)
    assert passing.seen["GetObject"] == 2


_FETCH = """
import json, sys, time
from cytotable_dagster.core.intake import cache_room
from cytotable_dagster.core.intake.cache import fetched
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.model.types import Plate

cache_room._POLL = 0.1
for uri in sys.argv[2:]:
    with fetched(Plate("P", uri), Cache.checked(json.loads(sys.argv[1]))) as source:
        content = source.path.read_bytes()
        time.sleep(0.3)
        assert source.path.read_bytes() == content, "it went while it was used"
        print(source.digest, flush=True)
"""


def _started(options: dict[str, Any], *uris: str, **more: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _FETCH, json.dumps(options), *uris]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


@pytest.mark.parametrize("same", [True, False])
def test_processes_share_a_cache_that_has_room_for_one_plate(passing, direct, options, tmp_path, same):
    content = os.urandom(300_000)
    uris = [f"s3://{BUCKET}/{tmp_path.name}/{number}.sqlite" for number in range(4)]
    for uri in uris:
        put(direct, uri, content)
    limited = {**options, "cache_limit": int(1.5 * len(content))}
    passing.clear()
    running = [_started(limited, *([uris[0]] * 2 if same else [uris[n], uris[n - 1]])) for n in range(4)]
    ended = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0] * 4, ended
    assert {line for out, _ in ended for line in out.split()} == {
        fetch(plate_at(uris[0]), Cache.checked(options)).digest
    }
    assert passing.seen["GetObject"] == (1 if same else passing.seen["GetObject"])
    held = sum(path.stat().st_size for path in Path(options["local_cache_dir"]).rglob("*.sqlite"))
    assert held <= 2 * len(content)


def test_what_a_killed_download_leaves_is_removed_by_the_next_and_counts_meanwhile(passing, direct, large, options):
    passing.altered["GetObject"] = cut("stall", 100_000)
    process = _started(options, large[0])
    folder = Path(options["local_cache_dir"]) / large[0].removeprefix("s3://").rsplit("/", 1)[0]
    while not list(folder.glob(".*.tmp")) or passing.seen["GetObject"] < 2:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list(folder.glob(".*.tmp"))
    passing.altered.clear()
    other = large[0].replace("P1", "P2")
    put(direct, other, b"another plate")
    fetch(plate_at(other), Cache.checked(options))
    assert not list(folder.glob(".*.tmp"))


def test_what_is_left_behind_goes_when_room_is_made(tmp_path):
    from cytotable_dagster.core.support.leftovers import owned_file

    with owned_file(tmp_path, "P1.sqlite") as path:
        left = path.name
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / left).write_bytes(bytes(1000))
    cache_room.make_room(tmp_path, tmp_path / "bucket" / "P2.sqlite", 10, 100, wait=0)
    assert not (tmp_path / "bucket" / left).exists()


def test_a_full_disk_is_one_line_that_may_pass(large, options):
    # A limit for the size of files, which a process has of its own, is as full as a disk can be made here.
    process = _started(options, large[0], preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB)))
    _, said = process.communicate(timeout=120)
    last = said.strip().splitlines()[-1]
    assert last.startswith("cytotable_dagster.core.errors.DownloadError: s3://")
    assert "cannot be kept in" in last
    assert kept_files(options) == []


@pytest.mark.parametrize("folder", ["/proc/plates", "/dev/null/plates"])
def test_a_cache_that_cannot_be_written_to_is_one_line(small, options, folder):
    with pytest.raises(OptionError, match="local_cache_dir") as caught:
        convert(small[0], "nowhere", **{**options, "local_cache_dir": folder})
    one_line_of(caught.value)


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        ("PutObject", (500, "InternalError")),
        ("PutObject", (403, "AccessDenied")),
        ("PutObject", (307, "TemporaryRedirect")),
        ("UploadPart", (503, "SlowDown")),
        ("CreateMultipartUpload", (400, "Bad\nOne")),
        ("CompleteMultipartUpload", (400, "InvalidPart")),
        ("PutObject", "hold"),
        ("UploadPart", "hold"),
    ],
)
def test_results_that_a_store_does_not_take_are_one_line_and_none_appears(
    passing: Between, direct, store_options, tmp_path, monkeypatch, operation, fault
):
    from cytotable_dagster.core.storage import upload

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    if operation != "PutObject":
        monkeypatch.setattr(upload, "PART_BYTES", 1000)
    if fault == "hold":
        monkeypatch.setattr(s3_session, "READ_SECONDS", 1)
        passing.held[operation] = 0
    else:
        passing.refused[operation] = fault
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(2, 1)))
    with pytest.raises(CytoTableError) as caught:
        convert(source, f"s3://{BUCKET}/{tmp_path.name}/out", **store_options)
    one_line_of(caught.value)
    passing.clear()
    assert "Contents" not in direct.list_objects_v2(Bucket=BUCKET, Prefix=tmp_path.name)


def test_a_part_goes_up_as_slowly_as_the_network_lets_it(passing: Between, in_store, monkeypatch):
    """The time to send is for a block, and not for all of a part."""
    from cytotable_dagster.core.storage import upload

    monkeypatch.setattr(s3_session, "CONNECT_SECONDS", 1)
    monkeypatch.setattr(upload, "PART_BYTES", 12 * MIB)
    passing.pace["UploadPart"] = 0.02
    with in_store.create("x") as out:
        out.write(bytes(12 * MIB))
    assert in_store.find("x").size == 12 * MIB
    assert passing.seen["UploadPart"] == 1
