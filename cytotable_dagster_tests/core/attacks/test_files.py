"""The attacks on plates of NPZ and CSV files, in small: `python -m attacks npz csv` runs thousands."""

from collections.abc import Callable
from pathlib import Path

import pytest

from attacks import csv, npz
from attacks.outcome import REFUSED, RIGHT, Outcome, refused
from cytotable_dagster.core.errors import CytoTableError

SEEDS = 40


@pytest.mark.parametrize("attack", [npz.attack, csv.attack], ids=["npz", "csv"])
def test_a_damaged_plate_is_read_as_the_oracle_reads_it_or_refused_in_one_line(
    tmp_path: Path, attack: Callable[[str, Path], Outcome]
) -> None:
    kinds = []
    for number in range(SEEDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            outcome = attack(f"test-{number}", folder)
        except CytoTableError as error:
            outcome = refused(error)
        assert not outcome.is_fault, f"test-{number}: {outcome}"
        kinds.append(outcome.kind)
    assert kinds.count(RIGHT) > SEEDS // 8
    assert kinds.count(REFUSED) > SEEDS // 8
