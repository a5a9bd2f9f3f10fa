"""A small plate for commands."""

from pathlib import Path

import pytest

from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_sqlite(tmp_path / "source" / "P1.sqlite", plate(JUMP, sites(3, 2)))
