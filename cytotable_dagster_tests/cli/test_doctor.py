"""What the doctor says of an installation and its folders, and its exit status."""

import json
import os
import tempfile
from pathlib import Path

import pytest

from cytotable_dagster.cli.main import main
from cytotable_dagster.core.environment import KERNEL_CACHE
from cytotable_dagster.core.support.leftovers import owned_file, owned_folder
from cytotable_dagster.defs.home import write_settings
from cytotable_dagster_tests.stores.servers import PROVIDERS


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, and no setting."""
    for name in [name for name in os.environ if name.startswith("CYTOTABLE_") and name != KERNEL_CACHE]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _said(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, str], dict[str, str]]:
    """The status, and of each thing its state and what is told of it."""
    status = main(["doctor", *options])
    lines = capsys.readouterr().out.splitlines()
    named = {line[7:].split("  ")[0]: line for line in lines}
    return status, {what: line.split()[0] for what, line in named.items()}, named


def test_all_is_well_where_nothing_is_set(in_folder: Path, capsys):
    status, states, said = _said(capsys, "--compile")
    assert status == 0
    assert (states.pop("Dagster"), states.pop("plates")) == ("note", "note")
    assert set(states.values()) == {"ok"}
    assert "compiled, in" in said["readers"]
    assert f"{in_folder}/lake: will be made" in said["lake"]
    assert list(in_folder.iterdir()) == []


def test_what_cannot_be_written_is_wrong(in_folder: Path, capsys, monkeypatch):
    (in_folder / "file").touch()
    for name in ("CYTOTABLE_CACHE", "CYTOTABLE_LAKE", "CYTOTABLE_DATASET", "CYTOTABLE_WAREHOUSE"):
        monkeypatch.setenv(name, str(in_folder / "file" / "below"))
    monkeypatch.setenv("DAGSTER_HOME", str(in_folder))
    status, states, _ = _said(capsys)
    assert status == 1
    places = {"cache", "lake", "dataset", "warehouse"}
    assert {what for what, state in states.items() if state == "wrong"} == {"Dagster", *places}
    write_settings(in_folder)
    states = _said(capsys)[1]
    assert (states["Dagster"], states["pools"]) == ("ok", "wrong")
    assert main(["home"]) == 0
    capsys.readouterr()
    assert "fetch 2, parsl 2" in _said(capsys)[2]["pools"]


def test_what_is_wrong_is_one_line_on_stderr(in_folder: Path, capsys, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(in_folder / "none"))
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err.splitlines() == ["cytotable-dagster: to be mended: Dagster"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_store_is_asked_and_its_error_told(in_folder: Path, capsys, monkeypatch, store_here, provider):
    for name, value in store_here.server.environment(store_here.passing.endpoint_url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CYTOTABLE_LAKE", f"{provider}://results/lake")
    monkeypatch.setenv("CYTOTABLE_DATASET", f"{provider}://no-such-bucket/dataset")
    monkeypatch.setenv("CYTOTABLE_WAREHOUSE", f"{provider}://results/warehouse")
    monkeypatch.setenv("CYTOTABLE_SOURCE", f"{provider}://no-such-bucket/{{batch}}/{{plate}}.sqlite")
    status, states, said = _said(capsys)
    assert (status, states["lake"], states["dataset"], states["plates"]) == (1, "ok", "wrong", "wrong")
    assert "no-such-bucket" in said["dataset"]
    assert ".parquet" not in said["dataset"]
    assert "name a folder" in said["warehouse"]
    assert f"{in_folder}/plate_work" in said["plans and chunks"]


def test_programs_are_given_the_same_and_what_caches_hold(in_folder: Path, capsys, monkeypatch):
    (in_folder / "plate_cache").mkdir()
    (in_folder / "plate_cache" / "P1.sqlite").write_bytes(bytes(123_456))
    monkeypatch.setenv("CYTOTABLE_LAKE", str(in_folder / "plate_cache" / "P1.sqlite"))
    assert main(["doctor", "--json"]) == 1
    found = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert found["cache"]["state"] == "ok" and "holds 123 kB" in found["cache"]["detail"]
    assert found["lake"]["state"] == "wrong"


def test_readers_that_are_not_compiled_are_told_and_where_they_would_be(in_folder: Path, capsys, monkeypatch):
    (in_folder / "home").touch()
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(in_folder / "home"))
    monkeypatch.setenv(KERNEL_CACHE, str(in_folder / "kernels"))
    monkeypatch.setattr("tempfile.tempdir", str(in_folder))
    _, states, said = _said(capsys)
    assert states["readers"] == "note"
    assert str(in_folder / "kernels") in said["readers"]
    # Nor in the temporary folder.
    monkeypatch.setenv(KERNEL_CACHE, str(in_folder / "home" / "below"))
    (in_folder / f"cytotable_dagster-{os.geteuid()}").touch()
    status, states, said = _said(capsys)
    assert (status, states["readers"]) == (1, "wrong")
    assert KERNEL_CACHE in said["readers"]


def test_what_killed_processes_left_is_removed_wherever_it_lies(in_folder: Path, monkeypatch, capsys):
    (in_folder / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(in_folder / "tmp"))
    places = [
        "tmp",
        "plate_cache/bucket/plates",
        "lake/P1",
        "lake/P1/chunks/Cells",
        "dataset/Cells",
        "out",
        ".",
    ]
    left = []
    for place in places:
        (in_folder / place).mkdir(parents=True, exist_ok=True)
        with owned_folder(in_folder / place, "x") as folder, owned_file(in_folder / place, "y") as file:
            pass
        (folder / "deep").mkdir(parents=True)
        file.touch()
        left += [folder, file]
    (in_folder / "out" / ".cytotable.lock").touch()
    (in_folder / "out" / "Cells.parquet").touch()
    (in_folder / "mine.tmp").touch()
    with owned_folder(in_folder / "lake", "in use") as used:
        assert main(["doctor", "--clean", "out"]) == 0
        said = capsys.readouterr().out
        assert used.exists()
    assert not any(path.exists() for path in left)
    assert all(f"removed  {path}" in said for path in left)
    assert sorted(path.name for path in in_folder.rglob("*") if path.is_file()) == ["Cells.parquet", "mine.tmp"]
    main(["doctor", "--clean"])
    assert "nothing was left by a killed process" in capsys.readouterr().out


def test_a_publication_that_was_cut_off_is_finished(in_folder: Path, capsys):
    out = in_folder / "out"
    (out / ".cytotable.publication").mkdir(parents=True)
    (out / "Cells.parquet").write_text("old")
    new = out / ".cytotable.publication" / "Cells.parquet"
    new.write_text("new")
    (new.parent / ".results.json").write_text(json.dumps({"Cells.parquet": new.stat().st_ino}))
    assert main(["doctor", "--clean", str(out)]) == 0
    assert f"publication in {out}" in capsys.readouterr().out
    assert (out / "Cells.parquet").read_text() == "new"
    assert [path.name for path in out.iterdir()] == ["Cells.parquet"]


def test_what_a_killed_process_left_in_a_store_is_undone(in_store, in_folder: Path, monkeypatch, capsys):
    monkeypatch.setenv("CYTOTABLE_ENDPOINT_URL", in_store.store.options["endpoint_url"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    for below in (".cytotable", ".cytotable/cells.parquet"):
        record = {"new": ["A", "cells.parquet"], "before": {"A": f"{below}/before/0"}}
        in_store.write(f"{below}/publication.json", json.dumps(record).encode())
        in_store.write(f"{below}/before/0", b"old")
    in_store.write("A", b"new")
    in_store.write("cells.parquet", b"new")
    assert main(["doctor", "--clean", in_store.address()]) == 0
    assert "before/0" in capsys.readouterr().out
    assert in_store.there(".cytotable") == []
    assert [stored.name for stored in in_store.list()] == ["A"]
    with in_store.open("A") as file:
        assert file.read() == b"old"
