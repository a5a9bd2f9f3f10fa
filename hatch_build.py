"""A wheel that carries compiled readers, where `CYTOTABLE_WHEEL_KERNELS` names their folder; else as it is everywhere.

`make wheel` compiles them into a folder of their own and names it.
https://hatch.pypa.io/latest/plugins/build-hook/custom/
"""

import os
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Kernels(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        folder = os.environ.get("CYTOTABLE_WHEEL_KERNELS")
        if not folder:
            return
        files = sorted(Path(folder).glob("kernels-*.o"))
        if not files:
            raise FileNotFoundError(f"no compiled readers in {folder}: make wheel compiles them")
        for file in files:
            build_data["force_include"][str(file)] = f"cytotable_dagster/core/kernels/compiled/{file.name}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"


def _platform() -> str:
    """The platform's tag. The code asks nothing of the C library but to copy memory, which every manylinux has."""
    system, _, machine = sysconfig.get_platform().partition("-")
    if system == "linux":
        return f"manylinux_2_17_{machine}"
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
