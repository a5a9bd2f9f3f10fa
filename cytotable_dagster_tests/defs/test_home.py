"""`cytotable-dagster home` and a `dagster.yaml` that is there: it gets what it lacks, and keeps what is its own."""

from argparse import Namespace
from pathlib import Path

import dagster as dg
import pytest
import yaml

from cytotable_dagster.cli import instance as commands
from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.defs.home import INSTANCE, merge_settings
from cytotable_dagster.defs.yaml_merge import merged

OURS = yaml.safe_load(INSTANCE)
OWN = """\
# Ours, do not touch.
retention:
  sensor:
    purge_after_days: 7   # an own number
concurrency:
    runs:
        max_concurrent_runs: 9
    # the end
python_logs:
  python_log_level: INFO
"""


def lines_in_order(part: str, whole: str) -> bool:
    left = iter(whole.splitlines())
    return all(line in left for line in part.splitlines())


def test_settings_are_added_and_what_is_there_stays(tmp_path: Path) -> None:
    file = tmp_path / "dagster.yaml"
    file.write_text(OWN)
    file.chmod(0o640)
    found = merge_settings(tmp_path)
    made = yaml.safe_load(file.read_text())
    assert lines_in_order(OWN, file.read_text())
    assert "# A run whose process died is started again" in file.read_text()
    assert {"concurrency.pools", "run_monitoring", "run_coordinator"} <= set(found.added)
    assert set(found.kept) == {"retention.sensor.purge_after_days: 7", "concurrency.runs.max_concurrent_runs: 9"}
    assert made["concurrency"] == {"runs": {"max_concurrent_runs": 9}, "pools": OURS["concurrency"]["pools"]}
    assert made["run_retries"] == OURS["run_retries"]
    assert file.stat().st_mode & 0o777 == 0o640
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_monitoring_enabled
    again = merge_settings(tmp_path)
    assert (again.added, again.text) == ((), file.read_text())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing yet\n",
        "---\ntelemetry:\n  enabled: true\n",
        "a: 1",
        INSTANCE,
        "concurrency:\n  pools:\n    default_limit: 3",
        "nux: {}\n",
    ],
)
def test_every_style_ends_with_all_settings(text: str) -> None:
    found = merged(text, INSTANCE)
    made = yaml.safe_load(found.text if not found.lacking else f"{found.text}\n{found.lacking}")
    assert OURS.keys() <= made.keys()
    assert lines_in_order(text, found.text)


@pytest.mark.parametrize(
    "text", ["{telemetry: {enabled: true}}\n", "telemetry:\n  enabled: false\n...\n", "concurrency: {pools: {}}\n"]
)
def test_what_cannot_be_put_in_is_told_line_by_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "dagster.yaml").write_text(text)
    found = merge_settings(tmp_path)
    assert (tmp_path / "dagster.yaml").read_text() == text
    assert yaml.safe_load(found.lacking)["run_monitoring"] == OURS["run_monitoring"]


def test_what_dagster_refuses_beside_other_settings_is_told_and_not_written(tmp_path: Path) -> None:
    text = """run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config:
    max_concurrent_runs: 5
"""
    (tmp_path / "dagster.yaml").write_text(text)
    found = merge_settings(tmp_path)
    assert yaml.safe_load(found.lacking) == {"concurrency": OURS["concurrency"]}
    assert "run_monitoring" in found.added
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_monitoring_enabled


def test_another_run_coordinator_is_left_alone() -> None:
    found = merged("run_coordinator:\n  module: dagster\n  class: DefaultRunCoordinator\n", INSTANCE)
    assert found.kept == ("run_coordinator: DefaultRunCoordinator",)
    assert "run_monitoring" in found.added


@pytest.mark.parametrize("text", ["a: [1\n", "- a\n", "a: 1\n---\nb: 2\n"])
def test_a_file_that_is_no_settings_is_named_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "dagster.yaml").write_text(text)
    with pytest.raises(OptionError, match=r"dagster\.yaml") as caught:
        merge_settings(tmp_path)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "dagster.yaml").read_text() == text


def test_the_command_says_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    file = tmp_path / "dagster.yaml"
    file.write_text("run_retries: {enabled: false}\n")
    commands.home(Namespace())
    said = capsys.readouterr().out
    assert "lacks these settings" in said
    assert "max_retries: 2" in said
    file.write_text("run_retries:\n  enabled: false\n")
    commands.home(Namespace())
    said = capsys.readouterr().out
    assert "was given run_retries.max_retries, " in said
    assert "kept as it is there: run_retries.enabled: False" in said
    assert yaml.safe_load(file.read_text())["run_retries"] == {**OURS["run_retries"], "enabled": False}
