"""What is measured of Dagster in a process of its own."""

import os
import shutil
import time
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


def launched_runs(dest: str) -> dict[str, Any]:
    """The demo's plate, twice under two names, each launched as a click in the web UI does: `seconds` are those of the
    second, from its launch to its end, `waited` those of them until its process began to work."""
    home, folder = Path(dest) / "home", Path(dest) / "plates"
    import dagster as dg
    from dagster_graphql import DagsterGraphQLClient

    from cytotable_dagster.defs import plates
    from cytotable_dagster.defs.home import LOCATION
    from cytotable_dagster.demo.plate import write_plate
    from cytotable_dagster.demo.servers import HOST, dagster_servers, prepare_home

    made = write_plate(Path(dest) / "s3")
    folder.mkdir()
    prepare_home(home)
    settings = {"CYTOTABLE_LAKE": str(Path(dest) / "lake"), "CYTOTABLE_CACHE": str(Path(dest) / "cache")}
    with dg.DagsterInstance.from_config(str(home)) as instance, dagster_servers(home, settings) as server:
        client = DagsterGraphQLClient(HOST, port_number=int(server.url.rsplit(":", 1)[1]))
        for name in ("Cold", "Warm"):
            source = folder / f"{name}.sqlite"
            shutil.copyfile(made.sqlite, source)
            plates.add(instance, name, str(source))
            tags = {"dagster/partition": name}
            run = client.submit_job_execution(
                JOB, repository_location_name=LOCATION, repository_name="__repository__", tags=tags
            )
            while not (record := instance.get_run_record_by_id(run)) or not record.end_time:
                time.sleep(0.2)
    assert record.dagster_run.is_success, record.dagster_run.status
    launched = record.create_timestamp.timestamp()
    return {"seconds": record.end_time - launched, "waited": (record.start_time or launched) - launched}
