"""Clients of the Parquet files, each run in an environment of its own: their pins exclude each other."""

import json
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cytotable_dagster_tests.conftest import ROOT

HERE = Path(__file__).parent


def interpreter(client: str) -> Path:
    """The interpreter of a client's environment; tests are skipped where it has not been made."""
    chosen = Path(os.environ.get(f"CYTOTABLE_{client.upper()}_PYTHON", ROOT / f".venv-{client}" / "bin" / "python"))
    if not chosen.exists():
        pytest.skip(f"{client}'s environment is not here: `make clients` makes it")
    # The link itself is the interpreter of that environment; what it points to is not.
    return chosen.absolute()


@cache
def _answer(client: str, asked: str) -> Any:
    with tempfile.TemporaryDirectory() as scratch:
        environment = {"HOME": scratch, "PATH": os.defpath, "LANG": "C.UTF-8", "MPLCONFIGDIR": scratch}
        ran = subprocess.run(
            [interpreter(client), "-W", "ignore", HERE / f"{client}_runner.py"],
            input=asked,
            env=environment,
            cwd=scratch,
            capture_output=True,
            text=True,
            timeout=900,
        )
    assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads(ran.stdout.splitlines()[-1])


def ask(client: str, **asked: Any) -> Any:
    """What a client's runner answers, in one process for each thing that is asked."""
    return _answer(client, json.dumps(asked, default=str, sort_keys=True))
