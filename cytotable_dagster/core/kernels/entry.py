"""The compiled functions as Python calls them: one number in, the address of a list of arrays, one status out.

Importing this module imports numba; `loading` does so only where no compiled code is at hand.
"""
# pyright: basic

from collections.abc import Callable, Sequence
from typing import Any

import numba
from llvmlite import binding as llvm
from numba import types

from cytotable_dagster.core.kernels.csv_fields import read_fields
from cytotable_dagster.core.kernels.csv_records import find_records, read_texts
from cytotable_dagster.core.kernels.lowered import lowered
from cytotable_dagster.core.kernels.machine import chars, ints, longs, table
from cytotable_dagster.core.kernels.parquet_pages import describe_columns, encode_columns
from cytotable_dagster.core.kernels.parquet_thrift import move_groups, skip_value
from cytotable_dagster.core.kernels.sqlite_decode import count_rows, decode_rows, profile_rows
from cytotable_dagster.core.kernels.texts import lay_out

_SIGNATURE = types.int64(types.int64)
# All that the machine code may need from outside: the C library.
_LIBRARY = {"pread", "memcpy", "memmove", "memset", "memcmp"}


def _decode_rows(job):
    return decode_rows(
        longs(job, 0), longs(job, 1), table(job, 2), chars(job, 3), table(job, 4), chars(job, 5), table(job, 6),
        table(job, 7), longs(job, 8), longs(job, 9), chars(job, 10), table(job, 11), chars(job, 12), longs(job, 13),
        longs(job, 14), longs(job, 15),
    )  # fmt: skip


def _profile_rows(job):
    return profile_rows(
        longs(job, 0), longs(job, 1), table(job, 2), chars(job, 3), table(job, 4), chars(job, 5), table(job, 6),
        chars(job, 7), table(job, 8), longs(job, 9),
    )  # fmt: skip


def _count_rows(job):
    return count_rows(longs(job, 0), longs(job, 1), table(job, 2), chars(job, 3), table(job, 4), longs(job, 5))


def _lay_out(job):
    return lay_out(table(job, 0), chars(job, 1), longs(job, 2), chars(job, 3))


def _move_groups(job):
    return move_groups(longs(job, 0), chars(job, 1), chars(job, 2), table(job, 3), table(job, 4), table(job, 5))


def _read_fields(job):
    return read_fields(longs(job, 0), chars(job, 1), longs(job, 2), longs(job, 3), table(job, 4), table(job, 5))


def _find_records(job):
    return find_records(longs(job, 0), chars(job, 1), table(job, 2))


def _read_texts(job):
    return read_texts(longs(job, 0), chars(job, 1), longs(job, 2), longs(job, 3), table(job, 4), chars(job, 5))


def _encode_columns(job):
    return encode_columns(
        longs(job, 0), table(job, 1), table(job, 2), chars(job, 3), chars(job, 4), chars(job, 5), chars(job, 6),
        chars(job, 7), table(job, 8), ints(job, 9),
    )  # fmt: skip


def _describe_columns(job):
    return describe_columns(longs(job, 0), table(job, 1), table(job, 2), chars(job, 3), chars(job, 4), table(job, 5))


def _skip_value(job):
    return skip_value(longs(job, 0), chars(job, 1), table(job, 2), longs(job, 3)[0])


KERNELS: dict[str, Callable[[Any], Any]] = {
    "decode_rows": _decode_rows,
    "profile_rows": _profile_rows,
    "count_rows": _count_rows,
    "lay_out": _lay_out,
    "move_groups": _move_groups,
    "skip_value": _skip_value,
    "encode_columns": _encode_columns,
    "describe_columns": _describe_columns,
    "read_fields": _read_fields,
    "find_records": _find_records,
    "read_texts": _read_texts,
}


def machine_code(target: Any, names: Sequence[str]) -> bytes:
    """Kernels as one object file for an LLVM target machine, each under its own name.

    A kernel is `int32 name(int64 *status, void **error, int64 job)`, numba's calling convention.

    Raises:
        RuntimeError: the code needs more than the C library. Else what numba and llvmlite raise where their functions
            are called otherwise than is known: NameError, KeyError and others.
    """
    module = lowered({name: KERNELS[name] for name in names}, _SIGNATURE)
    module.triple, module.data_layout = target.triple, str(target.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(target, options)
    builder.getModulePassManager().run(module, builder)
    declared = {f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")}
    if declared - _LIBRARY:
        raise RuntimeError(f"compiled code needs {', '.join(sorted(declared - _LIBRARY))}")
    return target.emit_object(module)


def checked_kernels(names: Sequence[str]) -> dict[str, Callable[[int], int]]:
    """Kernels as numba's own functions, which raise IndexError where NUMBA_BOUNDSCHECK is set."""
    return {name: numba.njit(_SIGNATURE, nogil=True, error_model="numpy")(KERNELS[name]) for name in names}
