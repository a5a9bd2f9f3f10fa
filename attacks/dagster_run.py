"""One run of a plate in this process, as the daemon would start it."""

import dagster as dg

from cytotable_dagster.defs.build import build_defs


def run(plate: str) -> int:
    """Convert a plate of the instance of DAGSTER_HOME; an exit status."""
    with dg.DagsterInstance.get() as instance:
        notice_killed(instance)
        job = build_defs().resolve_job_def("convert_plate")
        print("begins", flush=True)
        done = job.execute_in_process(instance=instance, partition_key=plate, raise_on_error=False)
    return 0 if done.success else 1


def notice_killed(instance: dg.DagsterInstance) -> None:
    """What the daemon does with a run whose process is gone."""
    under_way = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    for run in instance.get_runs(under_way):
        instance.report_run_failed(run)
