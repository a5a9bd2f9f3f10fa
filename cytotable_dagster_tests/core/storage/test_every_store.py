"""Plates that come from each store and go to it, as from and to folders; and what is said where that cannot be."""

import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets
from cytotable_dagster.core.errors import (
    CytoTableError,
    DestinationExistsError,
    DownloadError,
    OptionError,
    SourceAccessError,
    SourceNotFoundError,
    UploadError,
)
from cytotable_dagster.core.images import find_provenance
from cytotable_dagster.core.intake.cache import fetch
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.intake.discover import plate_at
from cytotable_dagster.core.storage import answers, az, download, upload
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.objects import REQUESTS_AT_ONCE, Patience
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster_tests.conftest import BUCKET, StoreHere
from cytotable_dagster_tests.core.images.painted import sqlite, write_files
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.stores.between import Answer
from cytotable_dagster_tests.stores.servers import PROVIDERS

OTHERS = [name for name in PROVIDERS if name != "s3"]


@pytest.fixture(params=OTHERS)
def provider(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def options(store_options: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return {**store_options, "local_cache_dir": str(tmp_path / "cache")}


@pytest.fixture
def two_plates(store_here: StoreHere, tmp_path: Path) -> str:
    """The prefix of two plates, which lie in a folder too."""
    for name, cells in (("A", (3, 2)), ("B", (4, 0, 1))):
        path = write_sqlite(tmp_path / "plates" / f"{name}.sqlite", plate(JUMP, sites(*cells)))
        store_here.server.put(BUCKET, f"{tmp_path.name}/plates/{name}.sqlite", path.read_bytes())
    return f"{store_here.provider}://{BUCKET}/{tmp_path.name}/plates"


def _tables(place: Destination) -> dict[str, pa.Table]:
    found = {}
    for stored in place.list():
        if stored.name.endswith(".parquet"):
            with place.open(stored.name) as file:
                found[stored.name] = pq.read_table(file)
    return found


def test_a_plate_is_converted_from_a_store_into_it(two_plates, store_here, in_store, options, tmp_path):
    convert(tmp_path / "plates" / "A.sqlite", tmp_path / "local")
    result = convert(f"{two_plates}/A.sqlite", in_store.address("out"), **options)
    assert result.source.unverified == "" and result.source.etag
    there = _tables(store_here.place(f"{tmp_path.name}/out"))
    assert there == {path.name: pq.read_table(path) for path in (tmp_path / "local").iterdir()}
    with pytest.raises(FileExistsError, match="out"):
        convert(f"{two_plates}/A.sqlite", in_store.address("out"), **options)
    convert(f"{two_plates}/B.sqlite", in_store.address("out"), overwrite=True, **options)
    assert _tables(store_here.place(f"{tmp_path.name}/out"))["Cells.parquet"].num_rows == 5
    # Nothing of how they came there is left.
    assert in_store.there("out/.cytotable") == [] and store_here.server.begun(BUCKET) == []


def test_plates_of_a_pattern_become_a_dataset_of_a_store(two_plates, in_store, options):
    datasets.add(f"{two_plates}/*.sqlite", in_store.address("set"), **options)
    store = in_store.store.options
    assert sorted(datasets.tables(in_store.address("set"), **store)["Cells"].members) == ["A", "B"]
    assert datasets.remove(in_store.address("set"), "A", **store)
    assert sorted(datasets.tables(in_store.address("set"), **store)["Cells"].members) == ["B"]


def test_images_of_a_store_are_verified_by_what_its_listing_tells(store_here, passing, store_options, tmp_path):
    write_files(tmp_path / "tree" / "P1" / "Images")
    for path in (tmp_path / "tree").rglob("*.*"):
        store_here.server.put(BUCKET, f"{tmp_path.name}/{path.relative_to(tmp_path / 'tree')}", path.read_bytes())
    source = sqlite(tmp_path, recorded="/mnt/{plate}/Images")
    prefix = f"{store_here.provider}://{BUCKET}/{tmp_path.name}"
    facts = find_provenance(source, tmp_path / "out", image_dir=prefix, **store_options)
    assert facts.counts == {"verified": 4} and passing.seen["HeadObject"] == passing.seen["GetObject"] == 0


def test_a_large_file_of_ours_is_verified_by_the_checksum_of_its_parts(store_here, in_store, options, tmp_path):
    client = in_store.client
    uri = in_store.address("P1.sqlite")
    content = [os.urandom(300_000) for _ in range(40)]
    mark = client.begin(uri)
    parts = [client.send(uri, mark, number, io.BytesIO(part)) for number, part in enumerate(content, 1)]
    client.complete(uri, mark, parts)
    assert client.head(uri).md5 is None
    # A request that is made again, as its answer was lost, finds what it made; another's object is not taken for it.
    made = client.put(f"{uri}.one", io.BytesIO(content[0]), only_if="")
    assert client.put(f"{uri}.one", io.BytesIO(content[0]), only_if="") == made
    with pytest.raises(DestinationExistsError):
        client.put(f"{uri}.one", io.BytesIO(content[1]), only_if="")
    source = fetch(plate_at(uri), Cache.checked(options))
    assert source.path.read_bytes() == b"".join(content) and source.unverified == ""


_MISSING = """
import sys
sys.modules.update({"google.cloud.storage": None, "azure.storage.blob": None})
from cytotable_dagster.cli.main import main
sys.exit(main(["convert", sys.argv[1], sys.argv[2]]))
"""


@pytest.mark.parametrize(("scheme", "extra"), [("gs", "gcs"), ("az", "azure")])
def test_a_store_whose_client_is_not_installed_says_what_to_install(scheme, extra, tmp_path):
    command = [sys.executable, "-c", _MISSING, f"{scheme}://bucket/P1.sqlite", str(tmp_path / "out")]
    ran = subprocess.run(command, capture_output=True, text=True)
    (line,) = ran.stderr.strip().splitlines()
    assert f"pip install 'cytotable-dagster[{extra}]'" in line and f"{scheme}://bucket" in line
    assert ran.returncode == 1 and not (tmp_path / "out").exists()


SECRET = "c2VjcmV0"
_AT = "AccountName=a;BlobEndpoint=http://127.0.0.1:9/a"
_SAID = {"type": "service_account", "private_key": SECRET, "client_email": "a", "token_uri": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("scheme", "given", "expected"),
    [
        ("gs", {"application_credentials": "no-such.json"}, "No such file"),
        ("gs", {"application_credentials": "cut.json"}, "cut off"),
        ("gs", {"application_credentials": "damaged.json"}, "damaged"),
        ("gs", {"application_credentials": "user.json"}, "of the type 'authorized_user'"),
        ("gs", {"application_credentials": "folder"}, "directory"),
        ("gs", {"application_credentials": 7}, "cannot be used"),
        ("gs", {"storage_client": 7}, "cannot be used"),
        ("az", {}, "which account"),
        ("az", {"connection_string": _AT[:15]}, "which account"),
        ("az", {"connection_string": f"{_AT};AccountKey={SECRET[:-3]}"}, "no base64"),
        ("az", {"connection_string": f"{_AT};AccountK"}, "which account"),
        ("az", {"connection_string": _AT}, "no AccountKey"),
        ("az", {"connection_string": SECRET}, "which account"),
        ("az", {"account_url": "nonsense", "credential": 7}, "which account"),
        ("az", {"account_url": "http://127.0.0.1:9/a", "credential": "a key"}, "no base64"),
    ],
)
def test_credentials_that_are_none_are_one_line(scheme, given, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cut.json").write_text(json.dumps(_SAID)[:-9])
    Path("damaged.json").write_text(json.dumps(_SAID))
    Path("user.json").write_text(json.dumps({"type": "authorized_user"}))
    Path("folder").mkdir()
    # A variable is a file's name as well, which the library would pass over.
    named = given.get("application_credentials")
    for variable in (False, True) if isinstance(named, str) and named != "user.json" else (False,):
        if variable:
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", named)
        with pytest.raises(OptionError, match=expected) as caught:
            convert(f"{scheme}://bucket/P1.sqlite", "out", **({} if variable else given))
        said = str(caught.value)
        assert f"{scheme}://bucket" in said and "\n" not in said and SECRET[:-3] not in said
    assert not Path("out").exists()


@pytest.mark.parametrize("provider", ["az"])
def test_a_signature_of_azure_reads_and_writes_what_it_may(two_plates, store_here, in_store, tmp_path):
    from azure.core.credentials import AzureSasCredential
    from azure.core.exceptions import ClientAuthenticationError
    from azure.storage.blob import AccountSasPermissions, BlobServiceClient, ResourceTypes, generate_account_sas

    service = BlobServiceClient.from_connection_string(store_here.options["connection_string"])

    def signed(may: str, seconds: float = 3600) -> str:
        return generate_account_sas(
            service.account_name,
            service.credential.account_key,
            ResourceTypes(object=True, container=True),
            AccountSasPermissions.from_string(may),
            datetime.now(UTC) + timedelta(seconds=seconds),
            datetime.now(UTC) - timedelta(hours=1),
        )

    url, cache = service.primary_endpoint, {"local_cache_dir": str(tmp_path / "cache")}
    convert(f"{two_plates}/A.sqlite", in_store.address("out"), account_url=f"{url}?{signed('rwdlac')}", **cache)
    credential = AzureSasCredential(signed("rwdlac"))
    convert(f"{two_plates}/B.sqlite", in_store.address("out"), overwrite=True, account_url=url, credential=credential)
    assert len(in_store.list("out")) == 4
    for given in (signed("rl", seconds=-1), signed("rl")[:-9], signed("wc")):
        with pytest.raises(SourceAccessError, match="403") as caught:
            convert(f"{two_plates}/A.sqlite", tmp_path / "nowhere", account_url=f"{url}?{given}")
        assert "\n" not in str(caught.value) and "sig=" not in str(caught.value)

    # What azure-identity raises where it finds nothing; tokens are sent by https only.
    class NoCredential:
        def get_token(self, *scopes: str, **options: object) -> None:
            raise ClientAuthenticationError("no token\nattempted: this and that")

    given = {"account_url": "https://127.0.0.1:9/a", "credential": NoCredential()}
    with pytest.raises(SourceAccessError, match=r"^az.*/A.sqlite: there are no credentials \(no token\); check"):
        convert(f"{two_plates}/A.sqlite", tmp_path / "nowhere", **given)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("provider", "operation"),
    [
        *((provider, operation) for provider in PROVIDERS for operation in ("GetObject", "PutObject")),
        # S3 takes no parts that are small.
        *((provider, operation) for provider in OTHERS for operation in ("UploadPart", "CompleteMultipartUpload")),
    ],
)
def test_credentials_that_end_in_the_middle_leave_nothing_and_the_next_run_goes_on(
    two_plates, in_store, passing, options, store_here, tmp_path, monkeypatch, operation
):
    monkeypatch.setattr(download, "RANGE_BYTES", (tmp_path / "plates" / "A.sqlite").stat().st_size // 2 + 1)
    if operation not in ("GetObject", "PutObject"):
        monkeypatch.setattr(upload, "PART_BYTES", 1000)
    passing.refused[operation] = (403, "AccessDenied")
    passing.refused_from[operation] = 1
    # A lock whose holder may not even read it any more would be waited for.
    target = str(tmp_path / "out") if operation == "GetObject" else in_store.address("out")
    with pytest.raises(SourceAccessError, match=r"^(s3|gs|az)://") as caught:
        convert(f"{two_plates}/A.sqlite", target, **options)
    assert "\n" not in str(caught.value) and passing.seen[operation] > 1
    passing.clear()
    assert in_store.list("out") == [] and not (tmp_path / "out").exists()
    convert(f"{two_plates}/A.sqlite", target, **options)
    assert len(in_store.list("out") or list((tmp_path / "out").iterdir())) == 4
    assert store_here.server.begun(BUCKET) == []


@pytest.mark.parametrize("provider", ["az"])
def test_a_copy_that_stands_still_is_called_off(two_plates, in_store, passing, store_options, monkeypatch):
    monkeypatch.setattr(az, "_COPY_POLL", 0.01)

    def pending(answer: Answer) -> None:
        done = min(answer.number, 3)
        answer.headers |= {"X-Ms-Copy-Id": "1", "X-Ms-Copy-Status": "pending", "X-Ms-Copy-Progress": f"{done}/9"}

    client = Store.checked(store_options).client(two_plates, Patience(seconds=0.5), writing=True)
    passing.altered |= {"PutObject": pending, "HeadObject": pending}
    other = in_store.address("there.sqlite")
    with pytest.raises(UploadError, match=f"^{other}: .*bytes 3/9, and no more in") as caught:
        client.copy(f"{two_plates}/A.sqlite", other)
    assert "\n" not in str(caught.value) and passing.seen["AbortCopy"] == 1
    passing.clear()
    assert in_store.find("there.sqlite") is None
    client.copy(f"{two_plates}/A.sqlite", other)
    assert in_store.find("there.sqlite") is not None


def test_a_key_that_is_another_ones_is_refused_in_one_line(store_here, options, provider):
    if provider == "gs":
        pytest.skip("the emulator takes no notice of who asks")
    text = options["connection_string"]
    wrong = text.replace("AccountKey=Eby8", "AccountKey=Abc8")
    with pytest.raises(SourceAccessError, match="403") as caught:
        convert(f"az://{BUCKET}/P1.sqlite", "out", connection_string=wrong)
    assert "\n" not in str(caught.value) and "Abc8" not in str(caught.value)


@pytest.mark.parametrize(
    ("operation", "status", "expected"),
    [
        ("HeadObject", 403, SourceAccessError),
        ("HeadObject", 404, SourceNotFoundError),
        ("HeadObject", 503, CytoTableError),
        ("ListObjects", 403, SourceAccessError),
        ("GetObject", 403, SourceAccessError),
    ],
)
def test_what_a_store_refuses_is_one_line(two_plates, passing, options, monkeypatch, operation, status, expected):
    monkeypatch.setattr(answers, "BETWEEN", 0.01)
    passing.refused[operation] = (status, "Refused")
    with pytest.raises(expected, match=f"{two_plates}.*{status}") as caught:
        convert(f"{two_plates}/" if operation == "ListObjects" else f"{two_plates}/A.sqlite", "nowhere", **options)
    assert "\n" not in str(caught.value)
    # Passing errors are asked again.
    assert passing.seen[operation] == (answers.ATTEMPTS if status == 503 else 1)
    assert not Path("nowhere").exists()


def test_options_of_all_stores_go_together_and_each_takes_its_own(store_here, options):
    store = Store.checked({**options, "endpoint_url": "http://127.0.0.1:9", "profile_name": "none"})
    assert store.client(f"{store_here.provider}://{BUCKET}/x") is not None


@pytest.fixture
def in_ranges(store_here: StoreHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, bytes]:
    """An object that is downloaded in three ranges: its address and content."""
    monkeypatch.setattr(download, "RANGE_BYTES", 500_000)
    monkeypatch.setattr(download, "_BETWEEN", 0.01)
    monkeypatch.setattr(answers, "BETWEEN", 0.01)
    content = os.urandom(1_200_000)
    store_here.server.put(BUCKET, f"{tmp_path.name}/P1.sqlite", content)
    return f"{store_here.provider}://{BUCKET}/{tmp_path.name}/P1.sqlite", content


def test_a_flipped_byte_is_fetched_again_and_one_that_is_flipped_each_time_is_an_error(in_ranges, passing, options):
    def flip(answer: Answer) -> None:
        answer.content = bytes([answer.content[0] ^ 1]) + answer.content[1:]

    passing.altered["GetObject"] = flip
    with pytest.raises(DownloadError, match=f"{in_ranges[0]}: its MD5 is") as caught:
        fetch(plate_at(in_ranges[0]), Cache.checked(options))
    assert "\n" not in str(caught.value)
    assert not list(Path(options["local_cache_dir"]).rglob("*.sqlite"))
    passing.seen.clear()
    passing.altered["GetObject"] = lambda answer: flip(answer) if answer.number == 0 else None
    assert fetch(plate_at(in_ranges[0]), Cache.checked(options)).path.read_bytes() == in_ranges[1]
    assert passing.seen["GetObject"] == 6


def test_a_body_that_is_cut_is_fetched_to_its_end(in_ranges, passing, options):
    def cut(answer: Answer) -> None:
        if answer.number < 2:
            answer.cut, answer.then = 100_000, "reset" if answer.number else "short"

    passing.altered["GetObject"] = cut
    assert fetch(plate_at(in_ranges[0]), Cache.checked(options)).path.read_bytes() == in_ranges[1]
    assert passing.seen["GetObject"] == 5


def test_an_object_that_is_replaced_while_it_comes_is_fetched_anew(
    in_ranges, passing, options, store_here, tmp_path, monkeypatch
):
    monkeypatch.setattr(download, "RANGES_AT_ONCE", 1)

    def replace(answer: Answer) -> None:
        if answer.number == 0:
            store_here.server.put(BUCKET, f"{tmp_path.name}/P1.sqlite", in_ranges[1][::-1])

    passing.altered["GetObject"] = replace
    assert fetch(plate_at(in_ranges[0]), Cache.checked(options)).path.read_bytes() == in_ranges[1][::-1]


@pytest.mark.parametrize(
    ("operation", "status"), [("PutObject", 500), ("UploadPart", 503), ("CompleteMultipartUpload", 400)]
)
def test_results_that_a_store_does_not_take_are_one_line_and_none_appears(
    in_store, passing, options, store_here, tmp_path, monkeypatch, operation, status
):
    monkeypatch.setattr(answers, "BETWEEN", 0.01)
    if operation != "PutObject":
        monkeypatch.setattr(upload, "PART_BYTES", 1000)
    passing.refused[operation] = (status, "Refused")
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(2, 1)))
    with pytest.raises(UploadError, match=f"{in_store.address('out')}.*{status}") as caught:
        convert(source, in_store.address("out"), **store_here.options)
    assert "\n" not in str(caught.value)
    passing.clear()
    assert in_store.list() == []
    # The next one goes on.
    convert(source, in_store.address("out"), **store_here.options)
    assert len(in_store.list("out")) == 4 and store_here.server.begun(BUCKET) == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_as_many_connections_are_kept_as_there_are_requests_at_once(in_store, passing, caplog, provider):
    client, uri = in_store.client, in_store.address("facts")
    client.put(uri, io.BytesIO(b"1"))
    together = Barrier(REQUESTS_AT_ONCE)
    # Nothing is answered before all have asked; those that would be one too many are told of by urllib3.
    passing.altered["HeadObject"] = lambda _: together.wait(60) and None
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        assert {found.size for found in pool.map(client.head, [uri] * REQUESTS_AT_ONCE)} == {1}
    assert [record.getMessage() for record in caplog.records if "pool is full" in record.getMessage()] == []
