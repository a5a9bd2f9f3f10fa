"""The few machine operations that numba lacks, and how the compiled code is cached.

Numba keys its cache on the file of the outermost function alone; here the folder's name carries a hash of every
module that is compiled, so that a changed helper is never overlooked.
"""
# pyright: basic, reportMissingTypeStubs=false

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_HERE = Path(__file__).parent


def cache_folder() -> Path:
    """Where compiled code is kept: below NUMBA_CACHE_DIR, else below the user's cache folder."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        base = Path(given)
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches" / "cytotable_dagster"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cytotable_dagster"
    digest = hashlib.sha256()
    for module in sorted(_HERE.glob("sqlite_*.py")):
        digest.update(module.read_bytes())
    return base / f"numba-{digest.hexdigest()[:16]}"


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function called from Python: without the interpreter lock, cached where a cache can be written."""
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(cache_folder())
    try:
        return numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    except (RuntimeError, OSError):
        return numba.njit(nogil=True, error_model="numpy")(function)
    finally:
        numba.config.CACHE_DIR = before


# Functions called by kernels only: compiled, and cached, as part of them.
helper = numba.njit(nogil=True, error_model="numpy")


def _pointer(context, builder, array_type, array, at):
    """Address of the byte `at` of a one-dimensional array of bytes."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [at])


@intrinsic
def _pread(typingctx, fd, buffer, at, size, offset):
    signature = types.int64(types.int64, buffer, types.int64, types.int64, types.int64)

    def generate(context, builder, signature, args):
        i64, i32, pointer = ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()
        target = _pointer(context, builder, signature.args[1], args[1], args[2])
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(i64, [i32, pointer, i64, i64]), "pread"
        )
        return builder.call(function, [builder.trunc(args[0], i32), target, args[3], args[4]])

    return signature, generate


@intrinsic
def _memcpy(typingctx, source, source_at, target, target_at, size):
    signature = types.void(source, types.int64, target, types.int64, types.int64)

    def generate(context, builder, signature, args):
        start = _pointer(context, builder, signature.args[0], args[0], args[1])
        end = _pointer(context, builder, signature.args[2], args[2], args[3])
        cgutils.raw_memcpy(builder, end, start, args[4], 1)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def load_be64(typingctx, buffer, at):
    """The 8 bytes from `at` as a big-endian signed integer. Not checked: `at + 8` must lie in the buffer."""
    signature = types.int64(buffer, types.int64)

    def generate(context, builder, signature, args):
        i64 = ir.IntType(64)
        source = _pointer(context, builder, signature.args[0], args[0], args[1])
        value = builder.load(builder.bitcast(source, i64.as_pointer()), align=1)
        return builder.bswap(value) if sys.byteorder == "little" else value

    return signature, generate


@intrinsic
def real_bits(typingctx, value):
    """The bits of the double nearest to an integer."""

    def generate(context, builder, signature, args):
        return builder.bitcast(builder.sitofp(args[0], ir.DoubleType()), ir.IntType(64))

    return types.int64(types.int64), generate


@helper
def read_bytes(fd, buffer, at, size, offset):
    """Read `size` bytes from `offset` of a file to `at` of a buffer; whether all came."""
    if at < 0 or size < 0 or at + size > buffer.size:
        return False
    return _pread(fd, buffer, at, size, offset) == size


@helper
def copy_bytes(source, source_at, target, target_at, size):
    """Copy between two buffers; False, and nothing done, where either range leaves its buffer."""
    if size < 0 or source_at < 0 or target_at < 0:
        return False
    if source_at + size > source.size or target_at + size > target.size:
        return False
    _memcpy(source, source_at, target, target_at, size)
    return True
