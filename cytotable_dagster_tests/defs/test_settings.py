"""Settings from configuration and environment, and definitions that ask for nothing while they load."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import parsl
import pytest

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.execution.runner import thread_config
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.sources.csv.dialect import CsvFormat
from cytotable_dagster.defs.build import build_defs
from cytotable_dagster.defs.build_settings import chunks_per_plate
from cytotable_dagster.defs.cluster import ParslCluster
from cytotable_dagster.defs.partitions import chunk_key, plate_chunk_partitions
from cytotable_dagster.defs.resources import Lake, PlateSource
from cytotable_dagster_tests.conftest import ROOT
from cytotable_dagster_tests.core.model import test_preset_file
from cytotable_dagster_tests.defs.deployment import Deployment, failures

_LOAD_WITH_NOTHING = """
import os, socket, sys
def refused(event, arguments):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        raise AssertionError(f"{event} {arguments}")
    if event == "open" and arguments[1] and "w" in str(arguments[1]):
        raise AssertionError(f"writes {arguments[0]}")
sys.addaudithook(refused)
sys.dont_write_bytecode = True
from cytotable_dagster.definitions import defs
defs.resolve_asset_graph()
assert "parsl" not in sys.modules and "boto3" not in sys.modules and "duckdb" not in sys.modules
"""


def two_threads() -> parsl.Config:
    return thread_config(2)


def no_config() -> list[str]:
    return []


def failing() -> parsl.Config:
    raise KeyError("SLURM_ACCOUNT")


def test_configuration_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CYTOTABLE_LAKE", str(tmp_path / "environment"))
    assert Lake().of("P").path == tmp_path / "environment" / "P"
    assert Lake(folder=str(tmp_path / "configured")).of("P").path == tmp_path / "configured" / "P"


def test_without_settings_everything_is_below_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("LAKE", "SOURCE", "CACHE", "ENDPOINT_URL", "NO_SIGN_REQUEST", "PRESET", "EXECUTOR", "WORKERS"):
        monkeypatch.delenv(f"CYTOTABLE_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    assert Lake().of("P").path == tmp_path / "lake" / "P"
    assert PlateSource().plate("P", None).uri == "plates/P.sqlite"
    assert PlateSource().copies() == Cache(folder=tmp_path / "plate_cache")
    assert PlateSource().preset_name() is None


def test_how_csv_files_are_written_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Lake().options(2).format == CsvFormat("utf-8", None, None)
    for name, value in (("ENCODING", "latin-1"), ("DELIMITER", "tab"), ("DECIMAL", ",")):
        monkeypatch.setenv(f"CYTOTABLE_{name}", value)
    assert Lake().options(2).format == CsvFormat("latin-1", "\t", ",")
    assert Lake(delimiter=";").options(2).delimiter == ";"


def test_what_folders_of_csv_plates_are_called_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PlateSource(location="/in").pattern().text == "/in/{plate}.sqlite"
    for name, value in (
        ("PLATE_PATTERN", "{batch}/{plate}/{site}/..."),
        ("SITE_PATTERN", "{well}/{site}"),
        ("EQUAL_SITES", "keep"),
    ):
        monkeypatch.setenv(f"CYTOTABLE_{name}", value)
    assert PlateSource(location="/in").pattern().text == "/in/{batch}/{plate}/"
    found = Lake().options(2).format
    assert (found.site_pattern, found.keep_equal) == ("{well}/{site}", True)


def test_a_store_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYTOTABLE_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("CYTOTABLE_NO_SIGN_REQUEST", "true")
    found = PlateSource(cache="here").copies()
    assert found.folder == Path("here").absolute()
    assert found.store.options == {"endpoint_url": "http://127.0.0.1:9", "no_sign_request": True}


@pytest.mark.parametrize("text", ["0", "100", "-1", "many", ""])
def test_a_number_of_chunks_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("CYTOTABLE_CHUNKS_PER_PLATE", text)
    with pytest.raises(OptionError, match="CYTOTABLE_CHUNKS_PER_PLATE"):
        chunks_per_plate()


def test_chunk_keys_put_the_plate_first(deployment: Deployment) -> None:
    deployment.instance.add_dynamic_partitions("plates", ["Keys"])
    keys = plate_chunk_partitions(12).get_partition_keys(dynamic_partitions_store=deployment.instance)
    assert [key for key in keys if key.startswith("Keys")] == [f"Keys|{chunk:02d}" for chunk in range(12)]
    assert str(chunk_key("Keys", 3)) == "Keys|03"


def test_an_executor_of_the_users_own(deployment: Deployment) -> None:
    deployment.add("Cluster")
    cluster = ParslCluster(executor=f"{__name__}:two_threads")
    result = deployment.convert("Cluster", parsl_cluster=cluster)
    assert result.success, failures(result)


@pytest.mark.parametrize(
    ("executor", "reason"),
    [
        ("nothing", "cannot be loaded (No module named 'nothing'); give threads, processes or module:function"),
        ("no.such:thing", "cannot be loaded (No module named 'no'); give"),
        ("cytotable_dagster:no_such", "cannot be loaded (module 'cytotable_dagster' has no attribute 'no_such'); give"),
        (f"{__name__}:no_config", "a parsl.Config is expected, not a list"),
        (f"{__name__}:failing", "failed (KeyError: 'SLURM_ACCOUNT')"),
    ],
)
def test_an_executor_that_cannot_be_is_told_before_anything_is_fetched(
    deployment: Deployment, executor: str, reason: str
) -> None:
    name = f"Refused{len(executor)}"
    deployment.add(name)
    result = deployment.convert(name, parsl_cluster=ParslCluster(executor=executor))
    (line,) = failures(result)
    assert line.startswith(f"executor {executor!r}: {reason}")
    assert not deployment.lake(name).path.exists()


def test_an_executor_in_the_folder_that_dagster_was_started_in(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cluster_of_this_lab.py").write_text(
        f"from {thread_config.__module__} import thread_config\n\n\ndef two():\n    return thread_config(2)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    cluster = ParslCluster(executor="cluster_of_this_lab:two")
    cluster.check()
    assert cluster.config(tmp_path).executors[0].max_threads == 2


def test_processes_convert_a_plate(deployment: Deployment) -> None:
    deployment.add("Processes")
    result = deployment.convert("Processes", parsl_cluster=ParslCluster(executor="processes", workers=2))
    assert result.success, failures(result)
    assert deployment.outdated("Processes") == {}


def test_definitions_load_without_network_and_without_writing() -> None:
    done = subprocess.run([sys.executable, "-c", _LOAD_WITH_NOTHING], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_a_newcomer_sees_is_described() -> None:
    graph = build_defs(chunks=2).resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description
        assert node.group_name in ("1_source", "2_chunks", "3_tables", "4_images", "5_datasets")


def test_dg_finds_the_definitions(deployment: Deployment) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("dg"), "check", "defs"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_owners_and_tables_of_a_preset_are_known_to_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = tmp_path / "lab.toml"
    preset.write_text(test_preset_file.example())
    monkeypatch.setenv("CYTOTABLE_PRESET", str(preset))
    monkeypatch.setenv("CYTOTABLE_OWNERS", "ada@lab.org, team:screening")
    defs = build_defs(chunks=2)
    graph = defs.resolve_asset_graph()
    for name in ("nuclei_cellpose3", "nuclei_cellpose3_chunk", "nuclei_cellpose3_dataset"):
        assert graph.get(dg.AssetKey(name)).owners == ["ada@lab.org", "team:screening"]
    assert dg.AssetKey("nuclei_cellpose3") in graph.get(dg.AssetKey("single_cells")).parent_keys
    assert dg.AssetKey("nuclei_cellpose3") in defs.resolve_job_def("convert_plate").asset_layer.selected_asset_keys
    monkeypatch.setenv("CYTOTABLE_OWNERS", "ada")
    with pytest.raises(OptionError, match="CYTOTABLE_OWNERS: 'ada' is no owner; give e-mail addresses"):
        build_defs(chunks=2)
