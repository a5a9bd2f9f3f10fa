"""What the converter says stands in the log of the run, and nowhere once the step is done."""

import logging

import dagster as dg
import pytest

from cytotable_dagster.core.shown import human_bytes
from cytotable_dagster.core.support.telling import remark, tell
from cytotable_dagster.defs import plates
from cytotable_dagster.defs.assets.faults import step
from cytotable_dagster.demo.s3_server import s3_client, s3_server
from cytotable_dagster_tests.defs.deployment import Deployment

SAID = "compiling the readers, once on this machine, about 6 s"


@dg.asset
def speaking(context: dg.AssetExecutionContext) -> None:
    with step(context):
        logging.getLogger("cytotable_dagster").warning(SAID)


def test_remarks_of_the_converter_are_in_the_runs_log():
    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.materialize([speaking], instance=instance)
        lines = [entry.user_message for entry in instance.all_logs(run.run_id)]
    assert [line for line in lines if SAID in line] == [SAID]
    assert logging.getLogger("cytotable_dagster").handlers == []


@dg.asset
def counting(context: dg.AssetExecutionContext) -> None:
    with step(context):
        remark("planned %s", "P1")
        for done in range(1, 10_001):
            tell("chunks joined", done, 10_000)


def test_what_is_counted_is_told_to_its_end_in_a_bounded_number_of_lines():
    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.materialize([counting], instance=instance)
        lines = [entry.user_message for entry in instance.all_logs(run.run_id) if not entry.is_dagster_event]
    assert lines[0] == "planned P1"
    assert lines[1] == "chunks joined: 1 of 10,000"
    assert lines[-1] == "chunks joined: 10,000 of 10,000"
    assert len(lines) < 100


def test_a_plate_of_a_store_is_told_from_its_first_byte_to_its_last_file(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("moto")
    with s3_server() as store:
        s3_client(store.endpoint_url).create_bucket(Bucket="bucket", ACL="public-read")
        content = deployment.write("Told").read_bytes()
        s3_client(store.endpoint_url).put_object(Bucket="bucket", Key="Told.sqlite", Body=content, ACL="public-read")
        monkeypatch.setenv("CYTOTABLE_ENDPOINT_URL", store.endpoint_url)
        monkeypatch.setenv("CYTOTABLE_NO_SIGN_REQUEST", "1")
        plates.add(deployment.instance, "Told", "s3://bucket/Told.sqlite")
        run = deployment.convert("Told")
    assert run.success
    said = _said(deployment, run.run_id)
    size = human_bytes(len(content))
    assert said[0] == f"downloading {size}"
    assert said[1].startswith(f"downloaded {size} of {size}, ")
    assert said[2] == f"downloaded s3://bucket/Told.sqlite, {size}; verified"
    assert any(line.startswith("planned Told: Image 5 rows x ") and line.endswith(" 4 chunks") for line in said)
    assert any(line.startswith("chunk 16 of 16: ") and line.endswith("; 0 to go") for line in said)
    assert "single_cells.parquet: 10 rows x " in said[-1]
    # What was joined beside the compartments is not joined once more; what is lost is.
    assert not any("single_cells: " in line for line in said)
    deployment.lake("Told").result("single_cells").unlink()
    again = deployment.materialize("Told", "single_cells")
    assert any("single_cells: 4 of 4" in line for line in _said(deployment, again.run_id))


def _said(deployment: Deployment, run: str) -> list[str]:
    """A run's log, but for Dagster's own events."""
    return [entry.user_message for entry in deployment.instance.all_logs(run) if not entry.is_dagster_event]
