"""CytoTable 1.2.6, run in its own environment: `make parity` makes it, `CYTOTABLE_PEER_PYTHON` names another."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cytotable_dagster_tests.parity.processes import Finished, bare_environment, run_to_end

ROOT = Path(__file__).parents[2]
RUNNER = Path(__file__).with_name("peer_runner.py")
VERSION = "1.2.6"

Arguments = Mapping[str, Any]


class PeerError(Exception):
    """CytoTable could not be run at all."""


@dataclass(frozen=True)
class PeerAnswer:
    """What one call of CytoTable's convert() gave: the files it names, or its error; seconds inside convert()."""

    files: tuple[Path, ...]
    error: str | None
    seconds: float


def peer_python() -> Path | None:
    """The interpreter of CytoTable's environment; None where it has not been made."""
    chosen = Path(os.environ.get("CYTOTABLE_PEER_PYTHON", ROOT / ".venv-parity" / "bin" / "python"))
    # The link itself is the interpreter of that environment; what it points to is not.
    return chosen.absolute() if chosen.exists() else None


def run_peer(
    calls: Sequence[Arguments],
    *,
    executor: Literal["threads", "htex"] = "threads",
    workers: int | None = None,
    timeout: float = 1800,
    variables: Mapping[str, str] | None = None,
) -> tuple[tuple[PeerAnswer, ...], Finished]:
    """Call CytoTable's convert() with each of these arguments, in one process that leaves nothing but results.

    Args:
        variables: of its environment, which has no settings beside.

    Raises:
        PeerError: there is no interpreter, the wrong version in it, or it ended without an answer.
        TimeoutError: it took longer than `timeout` seconds, and was stopped.
    """
    python = peer_python()
    if python is None:
        raise PeerError("CytoTable's environment is not here: `make parity` makes it")
    with tempfile.TemporaryDirectory(prefix="cytotable-peer-") as name:
        scratch = Path(name)
        request, response = scratch / "request.json", scratch / "response.json"
        asked = {
            "calls": [{key: _plain(value) for key, value in call.items()} for call in calls],
            "executor": executor,
            "workers": workers or os.cpu_count() or 1,
            "scratch": name,
        }
        request.write_text(json.dumps(asked))
        environment = {**bare_environment(scratch), **(variables or {})}
        # Parsl finds the programs of its workers by PATH.
        environment["PATH"] = f"{python.parent}{os.pathsep}{environment['PATH']}"
        finished = run_to_end(
            [str(python), str(RUNNER), str(request), str(response)],
            folder=scratch,
            environment=environment,
            timeout=timeout,
        )
        if not response.exists():
            raise PeerError(f"CytoTable's process ended with {finished.returncode}:\n{finished.output[-4000:]}")
        told = json.loads(response.read_text())
    if told["version"] != VERSION:
        raise PeerError(f"CytoTable {told['version']} is installed; {VERSION} is the one to compare with")
    return tuple(_answer(answer) for answer in told["answers"]), finished


def _answer(told: Mapping[str, Any]) -> PeerAnswer:
    return PeerAnswer(tuple(map(Path, told.get("files", ()))), told.get("error"), told["seconds"])


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
