"""Plates: their names, where they are, and how they come and go."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cytotable_dagster.core.errors import OptionError, SourceFormatError, SourceNotFoundError, UnsafeNameError
from cytotable_dagster.core.intake.patterns import find_by_pattern
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.defs import plates
from cytotable_dagster.defs.partitions import key_of, name_of
from cytotable_dagster.defs.resources import Lake, PlateSource
from cytotable_dagster_tests.defs.deployment import Deployment, failures
from cytotable_dagster_tests.defs.instances import opened


@pytest.mark.parametrize("name", ["BR00126114", "2021_08_23_Batch12~BR00126114", "a.b-c", "_x", "BR 0001", "P(1)", "ü"])
def test_barcodes_are_keys(name: str) -> None:
    assert key_of(name) == name_of(name) == name


@pytest.mark.parametrize("name", [".hidden", "..", "a|b", "a...b", "a/b", "a\nb", "p[1]", "u\u0308", "50%"])
def test_what_would_break_keys_or_folders_is_encoded(deployment: Deployment, name: str) -> None:
    plates.add(deployment.instance, name, "s3://bucket/x.sqlite")
    assert plates.source_of(deployment.instance, name) == "s3://bucket/x.sqlite"
    assert name in dict(plates.list_plates(deployment.instance))
    assert name in plates.chosen_plates(deployment.instance, [name])
    (key,) = {key for key in deployment.instance.get_dynamic_partitions("plates") if name_of(key) == name}
    assert Lake(folder="lake").of(name).path.name == key
    plates.remove(deployment.instance, name)
    assert name not in dict(plates.list_plates(deployment.instance))


@pytest.mark.parametrize("name", ["", "x" * 300])
def test_what_no_file_can_be_called_is_refused(deployment: Deployment, name: str) -> None:
    with pytest.raises(UnsafeNameError, match="no plate's name"):
        plates.add(deployment.instance, name)
    assert not deployment.instance.has_dynamic_partition("plates", name)


def test_a_key_typed_in_the_web_ui_that_is_no_name_is_refused_by_the_run(deployment: Deployment) -> None:
    deployment.instance.add_dynamic_partitions("plates", ["a[b"])
    (line,) = failures(deployment.convert("a[b"))
    assert line.startswith("partition 'a[b': plate 'a[b' has the partition key 'a%5Bb'")
    plates.remove(deployment.instance, "a[b")


def test_an_address_may_have_variables(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPORTS", "/exports")
    plates.add(deployment.instance, "Moved", "$EXPORTS/a.sqlite")
    assert plates.source_of(deployment.instance, "Moved") == "/exports/a.sqlite"
    with pytest.raises(OptionError, match="NO_SUCH is not set"):
        plates.add(deployment.instance, "NoVariable", "$NO_SUCH/a.sqlite")
    assert "NoVariable" not in dict(plates.list_plates(deployment.instance))
    source = PlateSource(location="${EXPORTS}/{batch}/{plate}.sqlite")
    assert source.pattern().text == "/exports/{batch}/{plate}.sqlite"
    assert Lake(folder="$EXPORTS/lake").of("P").path == Path("/exports/lake/P")
    plates.remove(deployment.instance, "Moved")


@pytest.mark.parametrize("name", ["p[1]", "{x}", "{batch}", "a*", "BR 1"])
def test_a_pattern_finds_the_plate_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    for other in (name, "p1", "ab", "x"):
        (tmp_path / "B{x}" / other).mkdir(parents=True)
        (tmp_path / "B{x}" / other / f"{other}.sqlite").touch()
    found = find_by_pattern(f"{tmp_path}/{{batch}}/{{plate}}/{{plate}}.sqlite", name, Store())
    assert found.uri == f"{tmp_path}/B{{x}}/{name}/{name}.sqlite"
    with pytest.raises(OptionError, match="no file is called so"):
        find_by_pattern(str(tmp_path), f"../{name}", Store())


def test_plates_are_added_moved_and_removed(deployment: Deployment) -> None:
    plates.add(deployment.instance, "Listed", "s3://bucket/a.sqlite")
    plates.add(deployment.instance, "Found")
    assert {("Listed", "s3://bucket/a.sqlite"), ("Found", None)} <= set(plates.list_plates(deployment.instance))
    plates.add(deployment.instance, "Listed", "s3://bucket/b.sqlite")
    assert plates.source_of(deployment.instance, "Listed") == "s3://bucket/b.sqlite"
    plates.add(deployment.instance, "Listed")
    assert plates.source_of(deployment.instance, "Listed") is None
    for name in ("Listed", "Found"):
        plates.remove(deployment.instance, name)
    assert not {"Listed", "Found"} & {name for name, _ in plates.list_plates(deployment.instance)}
    with pytest.raises(OptionError, match="no plate is called 'Listed'"):
        plates.remove(deployment.instance, "Listed")


def test_listing_plates_reads_what_was_last_said_of_each_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(dg.DagsterInstance.ephemeral()) as instance:
        said = {f"P {number}": f"s3://bucket/{number}-19.sqlite" for number in range(3)}
        for version in range(20):
            for number, name in enumerate(said):
                plates.add(instance, name, f"s3://bucket/{number}-{version}.sqlite", str(version))
        instance.add_dynamic_partitions("plates", ["Never seen", "A%7CB"])
        read, fetch = [], instance.fetch_observations

        def counted(*arguments: Any, **options: Any) -> dg.EventRecordsResult:
            answer = fetch(*arguments, **options)
            read.extend(answer.records)
            return answer

        monkeypatch.setattr(instance, "fetch_observations", counted)
        monkeypatch.setattr(plates, "_AT_ONCE", 2)
        assert plates.list_plates(instance) == [("A|B", None), ("Never seen", None), *sorted(said.items())]
        assert plates.source_of(instance, "P 1") == said["P 1"]
        assert len(read) == len(said) + 1


def test_a_pattern_finds_the_plate_in_its_batch(tmp_path: Path) -> None:
    file = tmp_path / "Batch2" / "BR1" / "BR1.sqlite"
    for path in (file, tmp_path / "Batch1" / "BR2" / "BR2.sqlite"):
        path.parent.mkdir(parents=True)
        path.touch()
    pattern = f"{tmp_path}/{{batch}}/{{plate}}/{{plate}}.sqlite"
    assert find_by_pattern(pattern, "BR1", Store()).uri == str(file)
    with pytest.raises(SourceNotFoundError, match="BR3"):
        find_by_pattern(pattern, "BR3", Store())


def test_a_barcode_in_two_batches_is_not_guessed(tmp_path: Path) -> None:
    for batch in ("Batch1", "Batch2"):
        (tmp_path / batch).mkdir()
        (tmp_path / batch / "BR1.sqlite").touch()
    with pytest.raises(SourceFormatError, match=r"2 files .*Batch1/BR1.sqlite and .*Batch2/BR1.sqlite"):
        find_by_pattern(f"{tmp_path}/{{batch}}/{{plate}}.sqlite", "BR1", Store())


def test_a_folder_means_files_named_after_their_plates() -> None:
    assert find_by_pattern("s3://bucket/plates/", "BR1", Store()).uri == "s3://bucket/plates/BR1.sqlite"


def test_an_address_that_was_given_comes_before_the_pattern() -> None:
    source = PlateSource(location="plates")
    assert source.plate("BR1", "elsewhere/x.sqlite").uri == "elsewhere/x.sqlite"
    assert source.plate("BR1", None).uri == "plates/BR1.sqlite"
