"""Executed by the interpreter of CytoTable's own environment: calls of its convert(), asked and answered in JSON.

Usage: peer_runner.py REQUEST RESPONSE. The request holds `calls`, a list of keyword arguments; `executor`, "threads"
or "htex"; `workers`; `scratch`, a folder for Parsl's files. Nothing of this project can be imported here.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

EXTENSIONS = ("sqlite_scanner", "httpfs")


def main(request_path: str, response_path: str) -> None:
    request = json.loads(Path(request_path).read_text())
    _install_extensions()
    answers = [_convert(arguments, request) for arguments in request["calls"]]
    Path(response_path).write_text(json.dumps({"version": version("cytotable"), "answers": answers}))


def _install_extensions() -> None:
    """Put DuckDB's extensions from their packages where INSTALL finds them, so that it asks no server."""
    import duckdb
    from duckdb_extensions import import_extension

    with duckdb.connect() as connection:
        for name in EXTENSIONS:
            import_extension(name, con=connection)


def _convert(arguments: dict, request: dict) -> dict:
    import cytotable
    import parsl
    from parsl.config import Config

    config = Config(
        executors=[_executor(request["executor"], request["workers"])],
        run_dir=str(Path(request["scratch"]) / "runinfo"),
        initialize_logging=False,
    )
    started = time.perf_counter()
    try:
        answer = {"files": _files(cytotable.convert(parsl_config=config, **arguments))}
    # What goes wrong in CytoTable is a result too: the tests compare it with what we do.
    except Exception as error:
        answer = {"error": _told(error)}
    answer["seconds"] = time.perf_counter() - started
    # convert() ends the kernel it loaded, but leaves it registered for the next call to find.
    parsl.clear()
    return answer


def _executor(kind: str, workers: int):
    from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor

    if kind == "threads":
        return ThreadPoolExecutor(label="threads", max_threads=workers)
    return HighThroughputExecutor(
        label="htex", address="127.0.0.1", loopback_address="127.0.0.1", max_workers_per_node=workers
    )


def _told(error: BaseException) -> str:
    """The error at the root of a chain of failed dependencies."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def _files(result) -> list:
    """Paths of what convert() says it wrote."""
    if isinstance(result, dict):
        return [str(path) for sources in result.values() for source in sources for path in source["table"]]
    return [str(path) for path in result] if isinstance(result, list) else [str(result)]


if __name__ == "__main__":
    main(*sys.argv[1:])
