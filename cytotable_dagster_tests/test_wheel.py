"""The wheel in an environment of its own: what it tells people to type is there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cytotable_dagster.core.environment import KERNEL_CACHE
from cytotable_dagster.core.kernels.loading import keep_in
from cytotable_dagster_tests.conftest import ROOT
from cytotable_dagster_tests.core.plates import JUMP, plate, write_sqlite

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with nothing but the wheel, its extra for PostgreSQL and what they need."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("uv is not in this environment")
    folder = tmp_path_factory.mktemp("wheel")
    # The wheel is made of the sdist, which has all that it takes, then.
    run(uv, "build", "-q", "-o", folder, ROOT)
    assert len(list(folder.glob("*.tar.gz"))) == 1
    run(uv, "venv", "-q", "--python", sys.executable, folder / "env")
    (wheel,) = folder.glob("*.whl")
    python = folder / "env" / "bin" / "python"
    run(uv, "pip", "install", "-q", "--python", python, "-c", ROOT / "constraints.txt", f"{wheel}[postgres]")
    return python.parent


def run(*command: object, **settings: str) -> str:
    """What a command prints."""
    done = subprocess.run(
        [str(part) for part in command], env={**os.environ, **settings}, capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_the_wheel_has_its_licence_and_its_types_and_converts(programs: Path, tmp_path: Path) -> None:
    files = "from importlib.metadata import files; print(*files('cytotable-dagster'), sep='\\n')"
    names = run(programs / "python", "-c", files).splitlines()
    assert "cytotable_dagster/py.typed" in names
    assert any(name.endswith("LICENSE") for name in names)
    assert not any(name.startswith("cytotable_dagster_tests") for name in names)
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP))
    run(programs / "cytotable-dagster", "convert", source, tmp_path / "out.parquet")
    assert (tmp_path / "out.parquet").exists()


def test_a_wheel_for_a_platform_carries_the_readers(programs: Path, tmp_path: Path) -> None:
    keep_in(tmp_path / "kernels")
    uv = Path(sys.executable).with_name("uv")
    run(uv, "build", "-q", "--wheel", "-o", tmp_path, ROOT, CYTOTABLE_WHEEL_KERNELS=str(tmp_path / "kernels"))
    (wheel,) = tmp_path.glob("*.whl")
    assert not wheel.stem.endswith("-any")
    run(uv, "pip", "install", "-q", "--python", programs / "python", "--reinstall", "--no-deps", wheel)
    elsewhere = {"HOME": str(tmp_path / "home"), KERNEL_CACHE: str(tmp_path / "cache")}
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP))
    command = [str(part) for part in (programs / "cytotable-dagster", "convert", source, tmp_path / "out.parquet")]
    done = subprocess.run(command, env=elsewhere, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert "compiling" not in done.stdout + done.stderr
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "home").exists()


def test_what_plate_add_tells_to_type_converts_the_plate(programs: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    settings = {
        "DAGSTER_HOME": str(home),
        "CYTOTABLE_LAKE": str(tmp_path / "lake"),
        "CYTOTABLE_CHUNKS_PER_PLATE": "2",
        # Nothing of the environment that runs the tests.
        "PATH": f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin",
    }
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP))
    run(programs / "cytotable-dagster", "home", **settings)
    told = run(programs / "cytotable-dagster", "plate", "add", "P1", "--source", source, **settings)
    command = told.splitlines()[-1]
    assert command.startswith("dagster ")
    run("sh", "-c", command, **settings)
    assert (tmp_path / "lake" / "P1" / "single_cells.parquet").exists()


def test_the_extra_for_postgresql_reads_addresses_with_the_driver_that_it_brings(programs: Path) -> None:
    shown = "import sqlalchemy, dagster_postgres as p; print(sqlalchemy.make_url('postgresql://h/d').get_driver_name())"
    assert run(programs / "python", "-c", shown) == "psycopg2\n"
