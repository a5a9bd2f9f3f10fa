"""What is measured of Dagster in a process of its own."""

import os
from pathlib import Path
from typing import Any

from benchmarks.clock import Clock

JOB = "convert_plate"


def dagster_run(source: str, dest: str) -> dict[str, Any]:
    """A plate through Dagster, in an instance and a lake of its own: `seconds` are those of the steps, `cpu` is of the
    whole run."""
    path, home, lake = Path(source), Path(dest) / "home", Path(dest) / "lake"
    os.environ.update(
        DAGSTER_HOME=str(home),
        CYTOTABLE_LAKE=str(lake),
        CYTOTABLE_SOURCE=str(path.parent),
        CYTOTABLE_CACHE=str(Path(dest) / "cache"),
    )
    import dagster as dg

    from cytotable_dagster.defs import plates
    from cytotable_dagster.defs.build import build_defs
    from cytotable_dagster.demo.servers import prepare_home

    prepare_home(home)
    with dg.DagsterInstance.get() as instance:
        plates.add(instance, path.stem, source)
        job = build_defs().resolve_job_def(JOB)
        clock = Clock()
        result = job.execute_in_process(instance=instance, partition_key=path.stem)
        whole, cpu = clock.read()
        steps = {
            event.step_key: event.step_success_data.duration_ms / 1e3
            for event in result.all_events
            if event.is_step_success
        }
    folder = lake / path.stem
    results = sum(file.stat().st_size for file in folder.glob("*.parquet"))
    kept = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {
        "seconds": sum(steps.values()),
        "cpu": cpu,
        "run": whole,
        "steps": steps,
        "kept": kept / results,
        "events": len(result.all_events),
    }
