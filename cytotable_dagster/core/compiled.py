"""Compiled code on disk: made by numba once, then loaded as plain machine code without importing numba at all.

Importing numba and its own cache costs a second or more in every process; loading the object file with llvmlite
some 30 ms.
"""
# pyright: basic, reportMissingTypeStubs=false

import ctypes
import functools
import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
from llvmlite import binding as llvm

_HERE = Path(__file__).parent
# What the kernels are made of.
_SOURCES = (
    "csv_fields",
    "csv_layout",
    "kernels",
    "kernel_machine",
    "parquet_layout",
    "parquet_thrift",
    "sqlite_btree",
    "sqlite_decimal",
    "sqlite_decode",
    "sqlite_layout",
    "sqlite_records",
    "sqlite_text",
)
_DIGEST_SIZE = 32
_NAMES = ("decode_rows", "profile_rows", "count_rows", "lay_out", "move_groups", "skip_value", "read_fields")
_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
_lock = threading.Lock()


def call(name: str, *arrays: np.ndarray) -> int:
    """Run a kernel on arrays and return its status. The interpreter is free meanwhile."""
    job = np.empty((len(arrays), 3), np.int64)
    for i, array in enumerate(arrays):
        assert array.flags.c_contiguous
        job[i] = array.__array_interface__["data"][0], array.shape[0], array.shape[1] if array.ndim == 2 else 1
    return kernels()[name](job.__array_interface__["data"][0])


def kernels() -> dict[str, Callable[[int], int]]:
    """The kernels, compiled or loaded at the first call."""
    with _lock:
        return _kernels()


def load_kept() -> None:
    """Load the kernels now if an earlier process kept them; else the first call compiles them."""
    with _lock:
        if not _bounds_are_checked() and _place()[1].exists():
            _kernels()


@functools.cache
def _kernels() -> dict[str, Callable[[int], int]]:
    if _bounds_are_checked():
        from cytotable_dagster.core.kernels import checked_kernels

        return checked_kernels()
    machine, path = _place()
    code = _cached(path)
    if code is None:
        from cytotable_dagster.core.kernels import checked_kernels, machine_code

        try:
            code = machine_code(machine)
        except RuntimeError:
            # A version of numba whose code cannot stand alone: let numba load it, in this process only.
            return checked_kernels()
        _keep(path, code)
    return _linked(machine, code)


def _bounds_are_checked() -> bool:
    return os.environ.get("NUMBA_BOUNDSCHECK", "0") not in ("", "0")


@functools.cache
def _place() -> tuple[llvm.TargetMachine, Path]:
    """What code is made for here, and the file that it is kept in."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=True
    )
    return machine, cache_folder() / f"kernels-{_fingerprint(machine.triple, llvm.get_host_cpu_name(), features)}.o"


def cache_folder() -> Path:
    """Where compiled code is kept: NUMBA_CACHE_DIR if set, else below the user's cache folder."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return Path(given) / "cytotable_dagster"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "cytotable_dagster"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cytotable_dagster"


def _fingerprint(*machine: str) -> str:
    """Of all that the compiled code depends on: its sources, the compiler, the processor."""
    digest = hashlib.sha256()
    for module in _SOURCES:
        digest.update(_HERE.joinpath(f"{module}.py").read_bytes())
    for fact in (*machine, metadata.version("numba"), metadata.version("llvmlite")):
        digest.update(fact.encode() + b"\n")
    return digest.hexdigest()[:24]


def _cached(path: Path) -> bytes | None:
    """The code in a file, if it is there and whole: the file starts with the code's digest."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    code = data[_DIGEST_SIZE:]
    return code if hashlib.sha256(code).digest() == data[:_DIGEST_SIZE] else None


def _keep(path: Path, code: bytes) -> None:
    """Store the code for the next process; where that cannot be, the next process compiles again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(code).digest() + code)
        Path(file.name).replace(path)
    except OSError:
        return


def _linked(machine: llvm.TargetMachine, code: bytes) -> dict[str, Callable[[int], int]]:
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    # The engine owns the code: each function keeps it alive.
    return {name: _function(engine, name) for name in _NAMES}


def _function(engine: llvm.ExecutionEngine, name: str) -> Callable[[int], int]:
    code = _FUNCTION(engine.get_function_address(name))

    def run(job: int, _engine: llvm.ExecutionEngine = engine) -> int:
        status, error = ctypes.c_int64(), ctypes.c_void_p()
        if code(ctypes.addressof(status), ctypes.addressof(error), job):
            raise RuntimeError(f"compiled function {name} failed")
        return status.value

    return run
