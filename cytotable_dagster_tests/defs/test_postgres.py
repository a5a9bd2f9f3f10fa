"""An instance in PostgreSQL, the real one; and what is said of an instance that cannot be opened."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from cytotable_dagster.cli.main import main
from cytotable_dagster.defs.build import build_defs
from cytotable_dagster.defs.resources import Lake
from cytotable_dagster.demo.servers import HOST, free_port
from cytotable_dagster_tests.core.plates import JUMP, plate, write_sqlite
from cytotable_dagster_tests.defs.deployment import failures
from cytotable_dagster_tests.defs.instances import opened


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """`user@host:port` of a server with an empty database `dagster`."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path(shutil.which("initdb") or "/nowhere").parent]
    if not (programs[-1] / "initdb").exists():
        pytest.skip("PostgreSQL is not installed")
    pytest.importorskip("dagster_postgres", reason="needs cytotable-dagster[postgres]")
    # It refuses to run as root; its socket's path has to be short, and its user may not enter pytest's folders.
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
    folder = Path(subprocess.run([*as_user, "mktemp", "-d"], check=True, capture_output=True, text=True).stdout.strip())

    def run(program: str, *arguments: str) -> None:
        command = [*as_user, str(programs[-1] / program), *arguments]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    port = free_port()
    try:
        run("initdb", "-D", "data", "-U", "dagster", "-A", "trust", "--no-sync")
        run("pg_ctl", "-D", "data", "-o", f"-p {port} -h {HOST} -k {folder} -F", "-l", "log", "-w", "start")
        run("createdb", "-h", HOST, "-p", str(port), "-U", "dagster", "dagster")
        yield f"dagster@{HOST}:{port}"
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            run("pg_ctl", "-D", "data", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.slow
def test_plates_and_runs_are_kept_in_postgresql(
    server: str, home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # As people write it, and as dagster-postgres writes it of `postgres_db`.
    (home / "dagster.yaml").write_text(f"storage:\n  postgres:\n    postgres_url: postgresql://{server}/dagster\n")
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP))
    assert main(["home"]) == 0
    assert "run_monitoring" in capsys.readouterr().out
    assert main(["plate", "add", "P1", "--source", str(source)]) == 0
    assert main(["plate", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"P1  {source}"
    job = build_defs(resources={"lake": Lake(folder=str(tmp_path / "lake"))}, chunks=2).resolve_job_def("convert_plate")
    with opened(dg.DagsterInstance.get()) as instance:
        result = job.execute_in_process(instance=instance, partition_key="P1", raise_on_error=False)
        assert result.success, failures(result)
        assert {pool.name for pool in instance.event_log_storage.get_pool_limits()} >= {"fetch", "parsl"}
    assert not list(home.rglob("*.db"))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            "storage: {postgres: {postgres_url: 'postgresql+psycopg://me:secret@127.0.0.1/dagster'}}",
            "No module named 'psycopg'; give postgresql+psycopg2:// in postgres_url, or scheme: postgresql+psycopg2 in",
        ),
        ("storage: {postgres: {postgres_url: 'me:secret@'}}", "Could not parse SQLAlchemy URL"),
        ("storage: {nothing: 1}", "Errors whilst loading dagster instance config"),
        ("storage: [", "while parsing a flow node / "),
    ],
)
def test_an_instance_that_cannot_be_opened_is_told_in_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], settings: str, line: str
) -> None:
    (home / "dagster.yaml").write_text(settings)
    assert main(["plate", "list"]) == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"cytotable-dagster: the Dagster instance of DAGSTER_HOME cannot be opened: {line}")
    assert "secret" not in told


def test_a_package_that_postgresql_needs_is_named(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("dagster_postgres")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dagster_postgres", None)
    (home / "dagster.yaml").write_text("storage: {postgres: {postgres_url: 'postgresql://me@127.0.0.1/dagster'}}")
    assert main(["plate", "list"]) == 1
    assert "pip install 'cytotable-dagster[postgres]'" in capsys.readouterr().err
