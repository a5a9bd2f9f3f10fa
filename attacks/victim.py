"""A process that converts until it is killed: `python -m attacks.victim JOB`, where JOB is JSON.

{"call": "convert" | "add" | "dagster", "arguments": {...}, "processes": bool,
 "kill": [what, number, "before" | "after"]}

`kill` says where it kills itself: at a change of a name, or at a request that changes the store, by number; without,
somebody else may kill it. It says when it begins.
"""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What changes a name of the file system.
_NAMES = ("rename", "replace", "link", "unlink", "rmdir", "mkdir")
# What changes the store.
_REQUESTS = (
    *("PutObject", "CopyObject", "DeleteObject"),
    *("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"),
)


def main(job: dict[str, Any]) -> int:
    tempfile.gettempdir()  # Python tries it out, with a file of its own
    if job.get("kill"):
        _kill_at(*job["kill"])
    arguments = job.get("arguments", {})
    if job["call"] == "dagster":
        from attacks import dagster_run

        return dagster_run.run(arguments["plate"])
    if job.get("processes"):
        from cytotable_dagster.defs.resources import ParslCluster

        scratch = Path(tempfile.mkdtemp(dir=job["logs"]))
        arguments["parsl_config"] = ParslCluster(executor="processes", workers=2).config(scratch)
    from cytotable_dagster import CytoTableError, convert, datasets
    from cytotable_dagster.core.storage import upload

    upload.PART_BYTES = 5 << 20
    print("begins", flush=True)
    try:
        (convert if job["call"] == "convert" else datasets.add)(**arguments)
    except CytoTableError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        return 1
    return 0


def _kill_at(step: str, number: int, when: str) -> None:
    seen = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            nonlocal seen
            seen += 1
            mine = seen
            if mine == number and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **options)
            if mine == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return run

    if step == "name":
        for name in _NAMES:
            setattr(os, name, counted(getattr(os, name)))
        from cytotable_dagster.core.support import publication

        publication.exchange = counted(publication.exchange)
        return
    from botocore.client import BaseClient

    plain = BaseClient._make_api_call
    change = counted(plain)

    def call(client: Any, operation: str, arguments: Any) -> Any:
        return (change if operation in _REQUESTS else plain)(client, operation, arguments)

    BaseClient._make_api_call = call


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
