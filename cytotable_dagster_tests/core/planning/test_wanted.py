"""Columns that are given by name and that no table has are told."""

from pathlib import Path

import pytest

from cytotable_dagster import convert
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, []),
        (["ImageNumber", "Metadata_Well"], []),
        # Of the preset's own, which few plates have all of.
        (["ImageNumber", "Parent_Cells"], []),
        (["Nope"], ["identifying_columns: no table has Nope"]),
        (
            ["ImageNumber", "Metadata_Wel", "Other"],
            ["identifying_columns: no table has Metadata_Wel (did you mean Metadata_Well?), Other"],
        ),
        (list("abcdefg"), ["identifying_columns: no table has a, b, c, d, e and 2 more"]),
    ],
)
def test_identifying_columns_that_no_table_has_are_told(
    tmp_path: Path, given: list[str] | None, told: list[str]
) -> None:
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(3, 2)))
    report = convert(source, tmp_path / "out", identifying_columns=given).report
    assert [line for line in report.notes if "identifying_columns" in line] == told
    assert all(line in str(report).splitlines() for line in told)
