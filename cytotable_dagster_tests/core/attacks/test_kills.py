"""The attack by kills, in small: `python -m attacks kills` runs hundreds."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from attacks import kills
from attacks.outcome import DIFFERENT, HALF, LEFT, RIGHT
from cytotable_dagster.core.storage.local_destination import LocalDestination
from cytotable_dagster.core.support import leftovers

_FAST = ("folder over", "parts over")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in _FAST)) for name in kills.KINDS]
)
def test_what_follows_a_kill_is_an_undisturbed_conversion_and_nothing_is_left(tmp_path: Path, name: str):
    outcome = kills.attack_on(name, random.Random(f"test {name}"), tmp_path)
    assert outcome.kind == RIGHT, outcome.detail


@pytest.mark.slow
def test_what_a_killed_process_left_is_a_fault_where_nobody_removes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(leftovers, "_swept", lambda path: False)
    found = set()
    for number in range(12):
        (tmp_path / str(number)).mkdir()
        found.add(kills.attack_on("folder over", random.Random(f"left {number}"), tmp_path / str(number)).kind)
    assert LEFT in found


def _half(place: LocalDestination) -> None:
    path = next(place.root.glob("out/*.parquet"))
    path.write_bytes(path.read_bytes()[:-1])


def _gone(place: LocalDestination) -> None:
    next(place.root.glob("out/*.parquet")).unlink()


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [_half, _gone])
def test_a_half_file_and_a_missing_table_are_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[LocalDestination], None]
):
    before = kills._content
    seen = []

    def content(place: LocalDestination) -> kills.Content:
        seen.append(place)
        if len(seen) == 2:  # after the kill; the first time was before it
            spoil(place)
        return before(place)

    kills._undisturbed(kills.KINDS["folder over"])
    monkeypatch.setattr(kills, "_content", content)
    outcome = kills.attack_on("folder over", random.Random("spoilt"), tmp_path)
    assert outcome.kind == HALF


@pytest.mark.slow
def test_other_bytes_after_the_rerun_are_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wanted = dict(kills._undisturbed(kills.KINDS["folder over"]))
    monkeypatch.setattr(kills, "_undisturbed", lambda kind, name="B": {**wanted, "out/More.parquet": b""})
    assert kills.attack_on("folder over", random.Random("other"), tmp_path).kind == DIFFERENT
