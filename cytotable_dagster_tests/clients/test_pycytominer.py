"""pycytominer 1.7.1 works with its defaults on the joined table of every preset."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster_tests.clients.environments import ask, interpreter
from cytotable_dagster_tests.clients.tables import CASES, REAL

# What belongs to no plate or well is in no group that is counted.
UNCOUNTED = {"cytominer_database/data_b": "a site without image rows has no plate and well"}


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    interpreter("pycytominer")
    return {name: case.joined(tmp_path_factory.mktemp("case")) for name, case in CASES.items()}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> dict[str, Path]:
    interpreter("pycytominer")
    folder = tmp_path_factory.mktemp("real")
    made = {name: folder / f"{number}.parquet" for number, name in enumerate(REAL)}
    for name, path in made.items():
        convert(real_data / name, path)
    return made


def profiles_of(tables: dict[str, Path], name: str) -> dict[str, Any]:
    asked = {other: [str(path), REAL[other][1] if other in REAL else None] for other, path in tables.items()}
    answer = ask("pycytominer", tables=asked)[name]
    assert "error" not in answer, answer["error"]
    return answer


@pytest.mark.parametrize("name", CASES)
def test_measurements_of_cells_and_nothing_else_are_features(joined, name):
    assert sorted(profiles_of(joined, name)["features"]) == sorted(CASES[name].measured)


@pytest.mark.parametrize("name", CASES)
def test_cells_become_profiles_of_wells_and_all_cells_are_counted(joined, name):
    answer = profiles_of(joined, name)
    assert sum(answer["counts"]) == pq.read_metadata(joined[name]).num_rows
    assert len(answer["counts"]) == answer["wells"]["rows"][0] == answer["wells"]["rows"][3] > 1
    _check_profiles(answer)


@pytest.mark.parametrize("name", REAL)
def test_cells_of_real_plates_become_profiles(real, name):
    answer = profiles_of(real, name)
    table = pq.read_table(real[name])
    assert sum(answer["counts"]) == table.num_rows or name in UNCOUNTED
    kept = [field.name for field in table.schema if not field.name.startswith(("Metadata_", "Image_"))]
    assert sorted(answer["features"]) == sorted(kept)
    _check_profiles(answer)


def _check_profiles(answer: dict[str, Any]) -> None:
    assert sorted(answer["aggregated"]) == sorted(answer["features"])
    for kind in ("wells", "cells"):
        found = answer[kind]
        assert found["repeated"] == []
        assert found["numeric"]
        assert sorted(found["normalized"]) == sorted(answer["features"])
        annotated, normalized, selected, _ = found["rows"]
        assert annotated == normalized == selected
