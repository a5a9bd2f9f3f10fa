"""Compiled code on disk: made by numba once, then loaded as plain machine code without importing numba at all.

Importing numba and its own cache costs a second or more in every process; loading the object file with llvmlite
some 30 ms.
"""
# pyright: basic, reportMissingTypeStubs=false

import ctypes
import functools
import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
from llvmlite import binding as llvm

from cytotable_dagster.core.environment import KERNEL_CACHE, numba_checks_bounds
from cytotable_dagster.core.kernels.code_cache import Folder, kept, turn, where_kept
from cytotable_dagster.core.kernels.compiling import compiled
from cytotable_dagster.core.kernels.target import machine, target

# What the kernels are made of: every module of this room but those that keep and load them.
_KEEPERS = ("__init__", "code_cache", "compiling", "loading", "target")
_SOURCES = sorted(path for path in Path(__file__).parent.glob("*.py") if path.stem not in _KEEPERS)
# What is compiled into one file, by one process: what shares functions, as each is compiled once in a process.
UNITS = {
    "sqlite": ("count_rows", "profile_rows", "decode_rows"),
    "texts": ("lay_out", "move_groups", "skip_value", "describe_columns", "encode_columns"),
    "csv": ("find_records", "read_fields", "read_texts"),
}
_UNIT_OF = {name: unit for unit, names in UNITS.items() for name in names}
# Who needs one of these will soon need the others.
_TOGETHER = {"sqlite": ("sqlite", "texts"), "csv": ("csv", "texts"), "texts": ("texts",)}
_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
# What llvmlite and numba raise where a version of theirs is not as it is known here: functions are called otherwise
# (NameError, of llvmlite's modules), options are unknown (KeyError), or calls are gone or take something else.
_UNLIKE_KNOWN = (RuntimeError, NameError, LookupError, AttributeError, TypeError)
_LONG = "about 5 s"
_lock = threading.Lock()
_loaded: "dict[str, Callable[[int], int]]" = {}
_log = logging.getLogger("cytotable_dagster")


def call(name: str, *arrays: np.ndarray) -> int:
    """Run a kernel on arrays and return its status. The interpreter is free meanwhile."""
    job = np.empty((len(arrays), 3), np.int64)
    for i, array in enumerate(arrays):
        assert array.flags.c_contiguous
        job[i] = array.__array_interface__["data"][0], array.shape[0], array.shape[1] if array.ndim == 2 else 1
    kernel = _loaded.get(name)
    if kernel is None:
        _load(_TOGETHER[_UNIT_OF[name]])
        kernel = _loaded[name]
    return kernel(job.__array_interface__["data"][0])


def load_all() -> None:
    """Load all kernels, and compile those that are not kept."""
    _load(tuple(UNITS))


def load_kept() -> None:
    """Load the kernels that an earlier process kept; the first call of any other compiles it."""
    if not numba_checks_bounds():
        _load(tuple(unit for unit in UNITS if kept(_name_of(unit)) is not None))


def kept_in() -> Path | None:
    """The folder that kernels are loaded from; None where a later process compiles some."""
    files = [where_kept(_name_of(unit)) for unit in UNITS]
    return files[0].parent if files[0] and all(files) else None


def keep_in(path: Path) -> None:
    """Keep the code of all kernels in a folder of its own too, which is made, for a wheel that carries it.

    Raises:
        OSError: it cannot be kept there, or there is none but what numba holds in this process.
    """
    load_all()
    folder = Folder(path.absolute())
    for name in map(_name_of, UNITS):
        code = kept(name)
        if code is None or not folder.can_be_written() or not folder.keep(name, code):
            raise OSError(f"the readers cannot be kept in {path}")


def _load(units: Sequence[str]) -> None:
    with _lock:
        missing = [unit for unit in units if not _loaded.keys() >= set(UNITS[unit])]
        if not missing:
            return
        if not numba_checks_bounds():
            try:
                codes = {unit: kept(_name_of(unit)) for unit in missing}
                if None in codes.values():
                    codes = _compiled_and_kept(missing)
                for unit, code in codes.items():
                    _loaded.update(_linked(code or b"", UNITS[unit]))
                return
            except _UNLIKE_KNOWN as error:
                # Let numba load what it compiles.
                _log.warning("compiling the readers for this process alone, %s: unusual code, %s", _LONG, error)
        from cytotable_dagster.core.kernels.entry import checked_kernels

        _loaded.update(checked_kernels([name for unit in missing for name in UNITS[unit]]))


def _name_of(unit: str) -> str:
    """The name that a unit's code is kept by."""
    return f"kernels-{unit}-{_told_by()}.o"


@functools.cache
def _told_by() -> str:
    return _fingerprint(*target())


def _compiled_and_kept(units: Sequence[str]) -> dict[str, bytes | None]:
    """Units' code, by this process or another that is at it; said in one line, as it takes a while."""
    with turn() as folder:
        codes = {unit: folder.code(_name_of(unit)) if folder else None for unit in units}
        missing = [unit for unit, code in codes.items() if code is None]
        if missing:
            where = (
                f"once on this machine, {_LONG} (kept in {folder.path})"
                if folder
                else f"{_LONG} in each process, as they can be kept nowhere: name a folder by {KERNEL_CACHE}"
            )
            _log.warning("compiling the readers, %s", where)
            for unit, code in zip(missing, compiled([UNITS[unit] for unit in missing]), strict=True):
                codes[unit] = code
                if folder:
                    folder.keep(_name_of(unit), code)
        return codes


def _fingerprint(*machine: str) -> str:
    """Of all that the compiled code depends on: its sources, the compiler, the processor."""
    digest = hashlib.sha256()
    for path in _SOURCES:
        digest.update(path.read_bytes())
    for fact in (*machine, metadata.version("numba"), metadata.version("llvmlite")):
        digest.update(fact.encode() + b"\n")
    return digest.hexdigest()[:24]


def _linked(code: bytes, names: Sequence[str]) -> dict[str, Callable[[int], int]]:
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    # The engine owns the code: each function keeps it alive.
    return {name: _function(engine, name) for name in names}


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
