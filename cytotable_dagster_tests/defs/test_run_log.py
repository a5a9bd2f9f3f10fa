"""What the converter says stands in the log of the run, and nowhere once the step is done."""

import logging

import dagster as dg

from cytotable_dagster.defs.assets.faults import step

SAID = "compiling the readers, once on this machine, about 20 s"


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
