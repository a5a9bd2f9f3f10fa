"""Plates: their names, where they are, and how they come and go."""

from pathlib import Path

import pytest

from cytotable_dagster.core.errors import OptionError, SourceFormatError, SourceNotFoundError
from cytotable_dagster.core.intake.patterns import find_by_pattern
from cytotable_dagster.defs import plates
from cytotable_dagster.defs.resources import PlateSource
from cytotable_dagster_tests.defs.deployment import Deployment, failures


@pytest.mark.parametrize("name", ["BR00126114", "2021_08_23_Batch12~BR00126114", "a.b-c", "_x"])
def test_barcodes_are_names(name: str) -> None:
    assert plates.checked_name(name) == name


@pytest.mark.parametrize("name", ["", ".hidden", "..", "a|b", "a...b", "a/b", "a b", "a\nb", "ä"])
def test_what_would_break_keys_or_folders_is_refused(deployment: Deployment, name: str) -> None:
    with pytest.raises(OptionError, match="cannot be a plate's name"):
        plates.add(deployment.instance, name)
    assert not deployment.instance.has_dynamic_partition("plates", name)


def test_a_name_typed_in_the_web_ui_is_refused_by_the_run(deployment: Deployment) -> None:
    deployment.instance.add_dynamic_partitions("plates", ["two words"])
    (line,) = failures(deployment.convert("two words"))
    assert line.startswith("'two words' cannot be a plate's name")


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


def test_a_pattern_finds_the_plate_in_its_batch(tmp_path: Path) -> None:
    file = tmp_path / "Batch2" / "BR1" / "BR1.sqlite"
    for path in (file, tmp_path / "Batch1" / "BR2" / "BR2.sqlite"):
        path.parent.mkdir(parents=True)
        path.touch()
    pattern = f"{tmp_path}/{{batch}}/{{plate}}/{{plate}}.sqlite"
    assert find_by_pattern(pattern, "BR1", {}).uri == str(file)
    with pytest.raises(SourceNotFoundError, match="BR3"):
        find_by_pattern(pattern, "BR3", {})


def test_a_barcode_in_two_batches_is_not_guessed(tmp_path: Path) -> None:
    for batch in ("Batch1", "Batch2"):
        (tmp_path / batch).mkdir()
        (tmp_path / batch / "BR1.sqlite").touch()
    with pytest.raises(SourceFormatError, match=r"2 files .*Batch1/BR1.sqlite and .*Batch2/BR1.sqlite"):
        find_by_pattern(f"{tmp_path}/{{batch}}/{{plate}}.sqlite", "BR1", {})


def test_a_folder_means_files_named_after_their_plates() -> None:
    assert find_by_pattern("s3://bucket/plates/", "BR1", {}).uri == "s3://bucket/plates/BR1.sqlite"


def test_an_address_that_was_given_comes_before_the_pattern() -> None:
    source = PlateSource(location="plates")
    assert source.plate("BR1", "elsewhere/x.sqlite").uri == "elsewhere/x.sqlite"
    assert source.plate("BR1", None).uri == "plates/BR1.sqlite"
