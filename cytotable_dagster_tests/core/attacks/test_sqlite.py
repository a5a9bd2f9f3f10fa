"""The attack on SQLite plates, in small: `python -m attacks sqlite` runs thousands."""

from pathlib import Path

import pytest

from attacks import sqlite
from attacks.outcome import DIFFERENT, REFUSED, RIGHT
from cytotable_dagster.core.errors import CytoTableError

SEEDS = 40


def test_a_damaged_plate_is_read_as_sqlite_reads_it_or_refused_in_one_line(tmp_path: Path):
    kinds = []
    for number in range(SEEDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            outcome = sqlite.attack(f"test-{number}", folder)
        except CytoTableError as error:
            pytest.fail(f"test-{number}: {error}")
        assert not outcome.is_fault, f"test-{number}: {outcome}"
        kinds.append(outcome.kind)
    # Of either kind there are many: nothing is told of a damage that everything is refused for.
    assert min(kinds.count(RIGHT), kinds.count(REFUSED)) > SEEDS // 5


@pytest.mark.parametrize("seed", ["test-0", "test-1", "test-2", "test-3"])
@pytest.mark.parametrize("lost", ["row", "value", "table"])
def test_what_differs_from_sqlite_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: str, lost: str):
    read = sqlite._read

    def more(path: Path, dialect: str) -> dict[str, sqlite._Read]:
        found = read(path, dialect)
        cells = found["Cells"]
        if lost == "table":
            found["Others"] = cells
        elif lost == "row":
            for values in cells.columns.values():
                values.append(values[0])
        else:
            texture = next(name for name in cells.columns if name.endswith("Texture_0"))
            cells.columns[texture][0] = 0.5
        return found

    monkeypatch.setattr(sqlite, "_read", more)
    monkeypatch.setattr(sqlite, "_damage", lambda *_: "nothing")
    outcome = sqlite.attack(seed, tmp_path)
    assert outcome.kind == DIFFERENT or (lost == "value" and "joined" in outcome.detail)
