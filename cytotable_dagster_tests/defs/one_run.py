"""A process that converts one plate: `python -m cytotable_dagster_tests.defs.one_run PLATE`. Says when it begins."""

import sys

import dagster as dg

from cytotable_dagster.defs.build import build_defs

if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        job = build_defs().resolve_job_def("convert_plate")
        print("begins", flush=True)
        done = job.execute_in_process(instance=instance, partition_key=sys.argv[1], raise_on_error=False)
    sys.exit(0 if done.success else 1)
