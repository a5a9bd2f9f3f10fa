"""A plate of many files from a store: one request for each, so many at once, and what came is not asked for again."""

import json
import subprocess
import sys
import time
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from cytotable_dagster.core.errors import SourceAccessError
from cytotable_dagster.core.intake.cache import fetch
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.model.types import Plate
from cytotable_dagster.core.storage.objects import REQUESTS_AT_ONCE
from cytotable_dagster_tests.conftest import BUCKET
from cytotable_dagster_tests.stores.between import Answer, Between

_FILES = 40
_FETCH = """
import json, sys
from cytotable_dagster.core.intake.cache import fetch
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.model.types import Plate

fetch(Plate("P", sys.argv[1]), Cache.checked(json.loads(sys.argv[2])))
"""


@pytest.fixture
def direct(results_server) -> Any:
    from cytotable_dagster.demo.s3_server import s3_client

    return s3_client(results_server.endpoint_url)


@pytest.fixture
def options(store_options, tmp_path) -> dict[str, Any]:
    return {**store_options, "local_cache_dir": str(tmp_path / "cache")}


@pytest.fixture
def uri(passing: Between, direct, tmp_path) -> str:
    """A folder of small files, none of which is like another."""
    for number in range(_FILES):
        direct.put_object(Bucket=BUCKET, Key=f"{tmp_path.name}/site{number:02d}/Cells.csv", Body=_content(number))
    passing.clear()
    return f"s3://{BUCKET}/{tmp_path.name}/"


def _content(number: int) -> bytes:
    return f"ImageNumber,ObjectNumber\n{number},1\n".encode()


def _fetched(uri: str, options: dict[str, Any]) -> dict[str, bytes]:
    path = fetch(Plate("P", uri), Cache.checked(options)).path
    return {file.parent.name: file.read_bytes() for file in path.rglob("Cells.csv")}


def _left(options: dict[str, Any]) -> list[Path]:
    return [path for path in Path(options["local_cache_dir"]).rglob("*.tmp") if "cytotable" in path.name]


def test_each_file_is_one_request_and_so_many_are_at_once(passing: Between, uri, options):
    now, most, lock = 0, 0, Lock()

    def answer(_: Answer) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1

    passing.altered["GetObject"] = answer
    assert _fetched(uri, options) == {f"site{number:02d}": _content(number) for number in range(_FILES)}
    assert dict(passing.seen) == {"ListObjects": 1, "GetObject": _FILES}
    assert 1 < most <= REQUESTS_AT_ONCE
    _fetched(uri, options)
    assert dict(passing.seen) == {"ListObjects": 2, "GetObject": _FILES}


def test_what_a_killed_fetch_brought_is_not_asked_for_again(passing: Between, uri, options):
    passing.held["GetObject"] = _FILES // 2
    running = subprocess.Popen([sys.executable, "-c", _FETCH, uri, json.dumps(options)])
    cache = Path(options["local_cache_dir"])
    while sum(path.read_bytes().count(b"}") for path in cache.rglob(".*.json")) < _FILES // 2:
        assert running.poll() is None
        time.sleep(0.02)
    running.kill()
    running.wait()
    assert _left(options)
    passing.clear()
    assert len(_fetched(uri, options)) == _FILES
    assert dict(passing.seen) == {"ListObjects": 1, "GetObject": _FILES - _FILES // 2}
    assert _left(options) == []


def test_a_store_that_refuses_one_of_many_is_one_line_and_the_rest_goes_on_later(passing: Between, uri, options):
    passing.refused["GetObject"], passing.refused_from["GetObject"] = (403, "AccessDenied"), _FILES // 2
    with pytest.raises(SourceAccessError, match=r"site\d+/Cells.csv: .*refused") as caught:
        _fetched(uri, options)
    assert "\n" not in str(caught.value)
    assert _left(options) == []
    passing.clear()
    assert len(_fetched(uri, options)) == _FILES
    assert _FILES - _FILES // 2 <= passing.seen["GetObject"] < _FILES


def test_a_file_that_is_replaced_while_others_come_is_fetched_as_it_is_then(passing: Between, direct, uri, options):
    key = f"{uri.removeprefix(f's3://{BUCKET}/')}site{_FILES - 1:02d}/Cells.csv"

    def replace(answer: Answer) -> None:
        if answer.number == 0:
            direct.put_object(Bucket=BUCKET, Key=key, Body=b"ImageNumber,ObjectNumber\n7,7\n")

    passing.altered["GetObject"] = replace
    found = _fetched(uri, options)
    assert found[f"site{_FILES - 1:02d}"] == b"ImageNumber,ObjectNumber\n7,7\n"
    assert dict(passing.seen) == {"ListObjects": 1, "GetObject": _FILES + 1, "HeadObject": 1}


def _records(options: dict[str, Any]) -> Path:
    (found,) = [path for path in Path(options["local_cache_dir"]).rglob(".*.json") if path.name != ".Cells.csv.json"]
    return found


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_files_whose_record_is_broken_off_are_asked_for_again_and_only_they(passing: Between, uri, options, cut):
    _fetched(uri, options)
    records = _records(options)
    whole = records.read_bytes()
    records.write_bytes(whole[: len(whole) - cut] if cut else b"")
    passing.seen.clear()
    assert len(_fetched(uri, options)) == _FILES
    assert passing.seen["GetObject"] == (1 if cut else _FILES)
    # What was added behind it is known.
    passing.seen.clear()
    assert len(_fetched(uri, options)) == _FILES
    assert passing.seen["GetObject"] == 0


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b"x" * file.stat().st_size), Path.unlink])
def test_a_file_of_many_that_is_not_what_came_is_asked_for_again(passing: Between, uri, options, damage):
    path = fetch(Plate("P", uri), Cache.checked(options)).path
    damage(path / "site03" / "Cells.csv")
    (path / "site04" / "Cells.csv").touch()
    passing.seen.clear()
    assert _fetched(uri, options)["site03"] == _content(3)
    assert passing.seen["GetObject"] == 1


def test_a_cache_of_an_earlier_version_with_a_record_beside_each_file_is_used(passing: Between, uri, options):
    path = fetch(Plate("P", uri), Cache.checked(options)).path
    records = _records(options)
    for line in filter(None, records.read_text().splitlines()):
        record = json.loads(line)
        file = path / record.pop("name")
        file.with_name(f".{file.name}.json").write_text(json.dumps(record))
    records.unlink()
    passing.seen.clear()
    assert len(_fetched(uri, options)) == _FILES
    assert passing.seen["GetObject"] == 0


def test_records_of_what_was_replaced_or_is_gone_do_not_gather(direct, uri, options):
    key = f"{uri.removeprefix(f's3://{BUCKET}/')}site"
    for turn in range(3):
        for number in range(_FILES):
            direct.put_object(Bucket=BUCKET, Key=f"{key}{number:02d}/Cells.csv", Body=_content(1000 * turn + number))
        _fetched(uri, options)
    for number in range(1, _FILES):
        direct.delete_object(Bucket=BUCKET, Key=f"{key}{number:02d}/Cells.csv")
    assert len(_fetched(uri, options)) == 1
    assert len(_records(options).read_text().splitlines()) <= 2
