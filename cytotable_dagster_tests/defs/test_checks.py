"""Checks speak in sentences, by limits that are settings; one bad plate turns no other's red; and all are checked at
once."""

import time

import dagster as dg
import pytest

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.defs.check_limits import CheckLimits
from cytotable_dagster_tests.core.plates import JUMP, plate, sites
from cytotable_dagster_tests.defs.deployment import Deployment, failures

LATEST = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  assetChecksOrError { ... on AssetChecks { checks { name description executionForLatestMaterialization {
    status partition evaluation { severity description metadataEntries { label
      ... on TableMetadataEntry { table { records } } ... on IntMetadataEntry { intValue } } } } } } }
} } }"""


def latest(deployment: Deployment, asset: str) -> dict[str, dict]:  # type: ignore[type-arg]
    """What the web UI shows of an asset's checks: that of the graph, too."""
    answer = deployment.graphql(LATEST, key={"path": [asset]})
    checks = answer["assetNodeOrError"]["assetChecksOrError"]["checks"]
    return {check["name"]: check["executionForLatestMaterialization"] for check in checks}


def check_all(deployment: Deployment, *assets: str) -> dg.ExecuteInProcessResult:
    """As "Execute all" of an asset's checks does: a run of no partition."""
    # Dagster tells by whole seconds whether a check came after a file.
    begun = int(time.time())
    while int(time.time()) == begun:
        time.sleep(0.05)
    chosen = dg.AssetSelection.checks_for_assets(*assets)
    job = dg.define_asset_job("check_all", selection=chosen)
    return deployment.run_once(job)


@pytest.mark.parametrize(
    ("limits", "passed"),
    [
        (CheckLimits(), False),
        (CheckLimits(unmatched_percent=20), True),
        (CheckLimits(unmatched_percent=20, left_over_percent=10), False),
    ],
)
def test_what_does_not_match_is_a_sentence_and_a_warning_beyond_the_limit(
    deployment: Deployment, limits: CheckLimits, passed: bool
) -> None:
    deployment.add("Limits")
    check = deployment.checks(deployment.convert("Limits", check_limits=limits))["single_cells", "objects_matched"]
    # Ten cytoplasms on five images: every third of an image lacks its nucleus, a nucleus of each image is of no cell.
    assert (check.passed, check.severity.value) == (passed, "WARN")
    said = str(check.description)
    assert "2 of 10 cytoplasm (20 %) have no nucleus, such as TableNumber" in said
    assert "6 of 14 nuclei (43 %) have no cytoplasm" in said
    assert "1 of 5 images (20 %) have no cytoplasm" in said
    assert ("usual where cells touch the border" in said) == (limits.left_over_percent is None)


def test_limits_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYTOTABLE_UNMATCHED_PERCENT", "2.5")
    assert CheckLimits().limits().unmatched == 2.5
    monkeypatch.setenv("CYTOTABLE_LEFT_OVER_PERCENT", "half")
    with pytest.raises(OptionError, match="CYTOTABLE_LEFT_OVER_PERCENT='half': give a percentage"):
        CheckLimits().limits()


@pytest.mark.parametrize("kind", ["not there", "cut off", "damaged later"])
def test_one_bad_plate_turns_no_check_red(deployment: Deployment, kind: str) -> None:
    deployment.add("Well", plate(JUMP, sites(2, 2)))
    assert deployment.convert("Well").success
    name = f"Bad_{kind.replace(' ', '_')}"
    if kind == "not there":
        deployment.instance.add_dynamic_partitions("plates", [name])
    else:
        path = deployment.add(name)
        if kind == "damaged later":
            assert deployment.materialize(name, "plate_sqlite").success
        path.write_bytes(path.read_bytes()[:9000])
    result = deployment.convert(name)
    assert not result.success
    for asset in ("image", "cells", "cytoplasm", "nuclei", "single_cells"):
        for check, seen in latest(deployment, asset).items():
            assert (check, seen["status"], seen["partition"]) == (check, "SUCCEEDED", name)
            assert seen["evaluation"]["description"] == f"not checked, as the run of {name} failed before: see its log"
    # A run that is done for real tells what it found.
    deployment.write(name)
    assert deployment.convert(name).success
    assert "6 of 14 nuclei" in latest(deployment, "single_cells")["objects_matched"]["evaluation"]["description"]


def test_all_plates_are_checked_in_one_run_of_none(deployment: Deployment) -> None:
    deployment.add("First", plate(JUMP, sites(2, 2)))
    deployment.add("Second")
    for name in ("First", "Second"):
        assert deployment.convert(name).success
    deployment.instance.add_dynamic_partitions("plates", ["Never"])
    result = check_all(deployment, "single_cells", "cells")
    assert result.success, failures(result)
    found = deployment.checks(result)
    assert set(found) == {
        *((asset, "rows_reconciled") for asset in ("cells", "single_cells")),
        ("cells", "values_fit"),
        ("single_cells", "objects_matched"),
    }
    rows = {row.data["plate"]: row.data for row in found["cells", "rows_reconciled"].metadata["plates"].records}  # type: ignore[union-attr]
    assert rows["First"]["what was found"].startswith("4 rows, as table Cells has")
    assert rows["Never"] == {
        "plate": "Never",
        "result": "passed",
        "what was found": "plate Never is not converted, and has no file to check",
    }
    shown = latest(deployment, "single_cells")["objects_matched"]
    assert (shown["status"], shown["partition"], shown["evaluation"]["severity"]) == ("FAILED", None, "WARN")
    assert "plates do not pass: " in shown["evaluation"]["description"]
    found_of = {
        row.data["plate"]: row.data for row in found["single_cells", "objects_matched"].metadata["plates"].records
    }  # type: ignore[union-attr]
    assert found_of["Second"]["result"] == "warning"
    assert found_of["Second"]["what was found"].startswith("2 of 10 cytoplasm (20 %) have no nucleus")


def test_a_file_that_is_gone_is_told(deployment: Deployment) -> None:
    deployment.add("Gone")
    assert deployment.convert("Gone").success
    deployment.lake("Gone").result("Cells").unlink()
    result = check_all(deployment, "cells")
    assert result.success, failures(result)
    found = deployment.checks(result)["cells", "rows_reconciled"]
    assert (found.passed, found.severity.value) == (False, "ERROR")
    assert "Gone: " in str(found.description)
    assert "Cells.parquet is not there any more; materialize cells again" in str(found.description)
    assert deployment.convert("Gone").success
