"""A run whose process is killed at any moment, and the one after it: the bytes of an undisturbed run.

`CYTOTABLE_KILLS=10` kills it ten times, `CYTOTABLE_SEED` chooses other moments.
"""

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from cytotable_dagster.core.lake.chunks import moment
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.parquet.groups import facts_of
from cytotable_dagster.core.parquet.parts import footer_of
from cytotable_dagster.defs import plates
from cytotable_dagster.demo.servers import prepare_home
from cytotable_dagster.demo.wide import write_wide_plate
from cytotable_dagster_tests.conftest import ROOT
from cytotable_dagster_tests.digests import digests

KILLS = int(os.environ.get("CYTOTABLE_KILLS", "2"))
SEED = int(os.environ.get("CYTOTABLE_SEED", "1"))
NAME = "Killed"
CHUNKS = 8


@dataclass(frozen=True)
class Place:
    folder: Path
    source: Path

    def start(self, lake: Path) -> "subprocess.Popen[bytes]":
        """A run whose results go to `lake`, from the moment when it begins."""
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(self.folder / "home"),
            "CYTOTABLE_LAKE": str(lake),
            "CYTOTABLE_CHUNKS_PER_PLATE": str(CHUNKS),
        }
        log = (self.folder / "log").open("ab")
        command = [sys.executable, "-m", "cytotable_dagster_tests.defs.one_run", NAME]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log)
        assert process.stdout is not None
        assert process.stdout.readline() == b"begins\n", (self.folder / "log").read_text()[-2000:]
        return process

    def notice_the_killed_run(self) -> None:
        """What the daemon does with a run whose process is gone."""
        with dg.DagsterInstance.from_config(str(self.folder / "home")) as instance:
            under_way = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
            for run in instance.get_runs(under_way):
                instance.report_run_failed(run)

    def convert(self, lake: Path) -> float:
        process = self.start(lake)
        begun = time.monotonic()
        assert process.wait(120) == 0, (self.folder / "log").read_text()[-2000:]
        return time.monotonic() - begun


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("killed")
    source = folder / f"{NAME}.sqlite"
    write_wide_plate(source, images=16, objects_per_image=30, features=400)
    prepare_home(folder / "home")
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        plates.add(instance, NAME, str(source))
    return Place(folder, source)


@pytest.fixture(scope="module")
def undisturbed(place: Place) -> tuple[dict[str, str], float]:
    """Its files, and how long it took."""
    seconds = place.convert(place.folder / "undisturbed")
    return digests(place.folder / "undisturbed", "*.parquet"), seconds


def done(lake: Path) -> int:
    """Chunks in tables under way, while the run makes and removes folders: os.walk passes over what is gone."""
    return sum(name.endswith(".footer") for _, _, names in os.walk(lake) for name in names)


def versions(lake: Path) -> dict[str, str]:
    """When each chunk was written that waits or is a part of its table, which is there or under way."""
    found = {}
    for compartment in ("Image", "Cells", "Cytoplasm", "Nuclei"):
        folder = PlateFolder(lake / NAME)
        record = folder.made(compartment)
        for number, chunk in enumerate(record.chunks if record else ()):
            found[f"{compartment} {number}"] = chunk.made
        for file in folder.chunks(compartment).glob("[0-9]*.footer"):
            found[f"{compartment} {int(file.stem)}"] = facts_of(footer_of(file))["made"]
        for file in folder.chunks(compartment).glob("[0-9]*.parquet"):
            found[f"{compartment} {int(file.stem)}"] = moment(file)
    return found


@pytest.mark.parametrize("number", range(KILLS))
def test_what_follows_a_killed_run_has_the_bytes_of_an_undisturbed_one(
    place: Place, undisturbed: tuple[dict[str, str], float], number: int
) -> None:
    expected, seconds = undisturbed
    lake = place.folder / f"lake{number}"
    # By turns at a moment of the run, and while it makes its chunks.
    chance = random.Random(SEED * 1000 + number).random()
    process = place.start(lake)
    if number % 2:
        time.sleep(chance * seconds)
    else:
        while process.poll() is None and done(lake) < chance * CHUNKS * len(expected):
            time.sleep(0.001)
    process.kill()
    process.wait()
    place.notice_the_killed_run()
    kept = versions(lake)
    print(f"killed with {len(kept)} chunks and {len(list(lake.glob('*/*.parquet')))} of 5 results there")
    place.convert(lake)
    assert digests(lake, "*.parquet") == expected
    assert kept.items() <= versions(lake).items(), "a chunk that was whole was made again"
    assert not list(lake.rglob("*.tmp"))
