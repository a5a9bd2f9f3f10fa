"""The few machine operations that numba lacks: arrays at an address, `pread`, `memcpy`, big-endian loads."""
# pyright: basic, reportMissingTypeStubs=false

import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, njit, types
from numba.core import cgutils
from numba.np.arrayobj import populate_array

# What these make is called from compiled code, with other arguments than the Python functions take.
intrinsic: Any = extending.intrinsic
compiler: Any = njit
# Nothing compiled here raises, allocates or counts references, so that it runs where Python and numba are not.
helper: Any = compiler(
    nogil=True, error_model="numpy", _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True, no_rewrites=True
)
# Numbers as arguments of helpers: those that Python writes are types of their own, each compiled once more.
ZERO, FOUR = np.int64(0), np.int64(4)

# How an array is told to a kernel: its address and its two lengths.
_WORDS = 3


def _pointer(context, builder, array_type, array, at):
    """Address of the byte `at` of a one-dimensional array of bytes."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [at])


def _array_intrinsic(item, dimensions) -> Any:
    """An intrinsic `f(job, i)`: the `i`th array of those listed in memory from the address `job` on."""

    @intrinsic
    def array_of(typingctx, job, i):
        kind = types.Array(item, dimensions, "C")

        def generate(context, builder, signature, args):
            i64 = ir.IntType(64)
            table = builder.inttoptr(args[0], i64.as_pointer())
            first = builder.mul(args[1], ir.Constant(i64, _WORDS))
            address, rows, width = (
                builder.load(builder.gep(table, [builder.add(first, ir.Constant(i64, k))])) for k in range(_WORDS)
            )
            size = ir.Constant(i64, item.bitwidth // 8)
            array = context.make_array(kind)(context, builder)
            populate_array(
                array,
                data=builder.inttoptr(address, array.data.type),
                shape=[rows, width][:dimensions],
                strides=[builder.mul(width, size), size][-dimensions:],
                itemsize=size,
                meminfo=None,
            )
            return array._getvalue()

        return kind(types.int64, types.int64), generate

    return array_of


chars = _array_intrinsic(types.uint8, 1)
ints = _array_intrinsic(types.int32, 1)
longs = _array_intrinsic(types.int64, 1)
table = _array_intrinsic(types.int64, 2)


def _from_intrinsic(item) -> Any:
    """An intrinsic `f(address, size)`: the `size` items from an address on, as an array. Whoever tells the address
    answers for them."""

    @intrinsic
    def array_from(typingctx, address, size):
        kind = types.Array(item, 1, "C")

        def generate(context, builder, signature, args):
            width = ir.Constant(ir.IntType(64), item.bitwidth // 8)
            array = context.make_array(kind)(context, builder)
            data = builder.inttoptr(args[0], array.data.type)
            populate_array(array, data=data, shape=[args[1]], strides=[width], itemsize=width, meminfo=None)
            return array._getvalue()

        return kind(types.int64, types.int64), generate

    return array_from


bytes_from = _from_intrinsic(types.uint8)
longs_from = _from_intrinsic(types.int64)


def _move_intrinsic(bits) -> Any:
    """An intrinsic `f(source, at, target, to)` that copies so many bits. Not checked: they must lie in both buffers."""

    @intrinsic
    def move(typingctx, source, at, target, to):
        signature = types.void(source, types.int64, target, types.int64)

        def generate(context, builder, signature, args):
            kind = ir.IntType(bits).as_pointer()
            start = _pointer(context, builder, signature.args[0], args[0], args[1])
            end = _pointer(context, builder, signature.args[2], args[2], args[3])
            builder.store(builder.load(builder.bitcast(start, kind), align=1), builder.bitcast(end, kind), align=1)
            return context.get_dummy_value()

        return signature, generate

    return move


move64 = _move_intrinsic(64)
move32 = _move_intrinsic(32)


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
def byte_at(typingctx, buffer, at):
    """The byte at `at`, which must lie in the buffer; without the look for a negative index that numba has."""
    signature = types.int64(buffer, types.int64)

    def generate(context, builder, signature, args):
        source = _pointer(context, builder, signature.args[0], args[0], args[1])
        return builder.zext(builder.load(source), ir.IntType(64))

    return signature, generate


@intrinsic
def load_le64(typingctx, buffer, at):
    """The 8 bytes from `at` as a little-endian unsigned integer. Not checked: `at + 8` must lie in the buffer."""
    signature = types.uint64(buffer, types.int64)

    def generate(context, builder, signature, args):
        i64 = ir.IntType(64)
        source = _pointer(context, builder, signature.args[0], args[0], args[1])
        value = builder.load(builder.bitcast(source, i64.as_pointer()), align=1)
        return value if sys.byteorder == "little" else builder.bswap(value)

    return signature, generate


@intrinsic
def real_bits(typingctx, value):
    """The bits of the double nearest to an integer."""

    def generate(context, builder, signature, args):
        return builder.bitcast(builder.sitofp(args[0], ir.DoubleType()), ir.IntType(64))

    return types.int64(types.int64), generate


@intrinsic
def high_product(typingctx, a, b):
    """The upper 64 bits of the product of two unsigned numbers."""

    def generate(context, builder, signature, args):
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic
def _leading_zeros(typingctx, value):
    def generate(context, builder, signature, args):
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@intrinsic
def ones_of(typingctx, value):
    """How many bits of an integer are set."""

    def generate(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.int64(types.int64), generate


@intrinsic
def trailing_zeros(typingctx, value):
    """How many of the lowest bits of an unsigned number are zero."""

    def generate(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@helper
def clear_leading_zeros(value):
    """An unsigned number shifted up to its highest bit, and by how many bits."""
    zeros = _leading_zeros(value)
    return value << np.uint64(zeros), zeros


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
