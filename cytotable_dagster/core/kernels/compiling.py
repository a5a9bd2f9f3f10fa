"""Kernels compiled by processes of their own: several at once, and without numba in the one that needs them."""

import subprocess
import sys
from collections.abc import Sequence

from cytotable_dagster.core.kernels.target import machine

# Modules are found as they are here.
_PROGRAM = "import sys; sys.path[:] = {path!r}; from cytotable_dagster.core.kernels.compiling import write; write()"


def compiled(units: Sequence[Sequence[str]]) -> list[bytes]:
    """The object file of each unit, which is named by its kernels.

    Raises:
        Exception: whatever numba and llvmlite raise where they are not as they are known here.
    """
    started: list[subprocess.Popen[bytes] | None] = []
    try:
        for names in units:
            started.append(_start(names))
        return [_code(process, names) for process, names in zip(started, units, strict=True)]
    finally:
        for process in started:
            if process is not None:
                process.kill()
                process.wait()


def _start(names: Sequence[str]) -> "subprocess.Popen[bytes] | None":
    """A process that compiles kernels; None where none can be started."""
    command = [sys.executable, "-c", _PROGRAM.format(path=sys.path), *names]
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return None


def _code(process: "subprocess.Popen[bytes] | None", names: Sequence[str]) -> bytes:
    """What a process gives; made here where it gives nothing, so that what is wrong is raised here."""
    if process is not None:
        code, _ = process.communicate()
        if process.returncode == 0 and code:
            return code
    from cytotable_dagster.core.kernels.entry import machine_code

    return machine_code(machine(), names)


def write() -> None:
    """Write the object file of the kernels that this process is told by name, to its output."""
    from cytotable_dagster.core.kernels.entry import machine_code

    sys.stdout.buffer.write(machine_code(machine(), sys.argv[1:]))
