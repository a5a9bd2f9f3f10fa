"""Compiled code on disk: made by numba once, then loaded as plain machine code without importing numba at all.

Importing numba and its own cache costs a second or more in every process; loading the object file with llvmlite
some 30 ms.
"""
# pyright: basic, reportMissingTypeStubs=false

import ctypes
import functools
import hashlib
import logging
import os
import platform
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import numpy as np
from llvmlite import binding as llvm

from cytotable_dagster.core.kernels.code_cache import VARIABLE, kept, turn, where_kept

# What the kernels are made of: every module of this room but those that keep and load them.
_SOURCES = sorted(
    path for path in Path(__file__).parent.glob("*.py") if path.stem not in ("__init__", "code_cache", "loading")
)
_NAMES = (
    *("decode_rows", "profile_rows", "count_rows", "lay_out", "move_groups", "skip_value"),
    *("read_fields", "find_records", "read_texts"),
)
_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
# Processors that nearly all of a kind can stand in for, and what that asks of them, so that code that was kept in an
# image runs wherever the image does. It is as fast as code for the very processor.
_COMMON: dict[str, tuple[str, tuple[str, ...]]] = {
    "x86_64": ("x86-64-v3", ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")),
    "aarch64": ("generic", ()),
    "arm64": ("generic", ()),
}
_lock = threading.Lock()
_log = logging.getLogger("cytotable_dagster")


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
        if not _bounds_are_checked() and kept_in():
            _kernels()


@functools.cache
def _kernels() -> dict[str, Callable[[int], int]]:
    if not _bounds_are_checked():
        name = _place()[1]
        # A version of numba whose code cannot stand alone: let numba load it, in this process only.
        with suppress(RuntimeError):
            return _linked(kept(name) or _compiled_and_kept(name))
    from cytotable_dagster.core.kernels.entry import checked_kernels

    return checked_kernels()


def _bounds_are_checked() -> bool:
    return os.environ.get("NUMBA_BOUNDSCHECK", "0") not in ("", "0")


@functools.cache
def _place() -> tuple[dict[str, str], str]:
    """The processor that code is made for here, and the name that the code is kept by."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    has = llvm.get_host_cpu_features()
    processor, features = llvm.get_host_cpu_name(), has.flatten()
    common, needed = _COMMON.get(platform.machine(), (None, ()))
    if common and all(has.get(feature) for feature in needed):
        processor, features = common, ""
    triple = llvm.Target.from_default_triple().triple
    return {"cpu": processor, "features": features}, f"kernels-{_fingerprint(triple, processor, features)}.o"


def _machine() -> llvm.TargetMachine:
    """What makes code or links it: one for each use, as an engine frees its own."""
    return llvm.Target.from_default_triple().create_target_machine(**_place()[0], opt=3, jit=True)


def kept_in() -> Path | None:
    """The file that the kernels are loaded from; None where the next process compiles them."""
    return where_kept(_place()[1])


def _compiled_and_kept(name: str) -> bytes:
    """The kernels' code, by this process or another that is at it; said in one line, as it takes a while."""
    with turn() as folder:
        if folder and (code := folder.code(name)):
            return code
        where = (
            f"once on this machine, about 20 s (kept in {folder.path})"
            if folder
            else f"about 20 s in each process, as they can be kept nowhere: name a folder by {VARIABLE}"
        )
        _log.warning("compiling the readers, %s", where)
        from cytotable_dagster.core.kernels.entry import machine_code

        code = machine_code(_machine())
        if folder:
            folder.keep(name, code)
        return code


def _fingerprint(*machine: str) -> str:
    """Of all that the compiled code depends on: its sources, the compiler, the processor."""
    digest = hashlib.sha256()
    for path in _SOURCES:
        digest.update(path.read_bytes())
    for fact in (*machine, metadata.version("numba"), metadata.version("llvmlite")):
        digest.update(fact.encode() + b"\n")
    return digest.hexdigest()[:24]


def _linked(code: bytes) -> dict[str, Callable[[int], int]]:
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    # The engine owns the code: each function keeps it alive.
    return {name: _function(engine, name) for name in _NAMES}


def _function(engine: llvm.ExecutionEngine, name: str) -> Callable[[int], int]:
    address = engine.get_function_address(name)
    if not address:
        raise RuntimeError(f"compiled code has no function {name}")
    code = _FUNCTION(address)

    def run(job: int, _engine: llvm.ExecutionEngine = engine) -> int:
        status, error = ctypes.c_int64(), ctypes.c_void_p()
        if code(ctypes.addressof(status), ctypes.addressof(error), job):
            raise RuntimeError(f"compiled function {name} failed")
        return status.value

    return run
