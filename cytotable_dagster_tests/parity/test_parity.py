"""CytoTable 1.2.6 and this project make the same of the same plates, but for the differences that are listed.

CytoTable runs in an environment of its own, which `make parity` makes; without it these tests are skipped.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cytotable_dagster_tests.conftest import ROOT
from cytotable_dagster_tests.parity.cases import CASES, Case
from cytotable_dagster_tests.parity.conversions import Conversions
from cytotable_dagster_tests.parity.listed import LISTED
from cytotable_dagster_tests.parity.peer import peer_python
from cytotable_dagster_tests.parity.sources import REAL

DOCUMENT = ROOT / "docs" / "differences-from-cytotable.md"

needs_peer = pytest.mark.skipif(
    peer_python() is None, reason="CytoTable's environment is not here: `make parity` makes it"
)


@pytest.fixture(scope="session")
def conversions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conversions]:
    data = Path(os.environ.get("CYTOTABLE_TEST_DATA", ROOT.parent / "shared" / "data"))
    folder = tmp_path_factory.mktemp("parity")
    yield Conversions(folder, data if data.is_dir() else None)
    shutil.rmtree(folder)


@needs_peer
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_tables_are_the_same_but_for_listed_differences(case: Case, conversions: Conversions) -> None:
    if case not in conversions.cases:
        pytest.skip("the real files are not here: set CYTOTABLE_TEST_DATA to their folder")
    unexplained = [str(found) for found in conversions.differences(case) if found.listed is None]
    assert not unexplained, "\n".join(unexplained)


@needs_peer
def test_every_listed_difference_is_needed(conversions: Conversions) -> None:
    if conversions.cases != CASES:
        pytest.skip(f"not all cases can be converted here: {', '.join(REAL)} are real files")
    needed = {id(found.listed) for case in CASES for found in conversions.differences(case)}
    assert [entry for entry in LISTED if id(entry) not in needed] == []


def test_every_listed_difference_is_explained_to_users() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted({entry.id for entry in LISTED})
