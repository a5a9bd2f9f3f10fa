"""A kernel that compresses numbers: LZ4's block format, looked through in steps of a number's width.

https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md. Measurements seldom repeat but as whole numbers; LZ4's own
compressor looks at each byte of them.
"""
# pyright: basic

import numpy as np

from cytotable_dagster.core.kernels.machine import (
    ZERO,
    byte_at,
    copy_bytes,
    helper,
    load_le64,
    trailing_zeros,
)

# What the format asks for: so many last bytes are literals, and no match begins in so many.
_LAST, _MARGIN = 5, 12
_SHORTEST, _FARTHEST = 4, 65535
# A hash of five bytes, of 12 bits.
_FACTOR, _SHIFT, _SLOT = np.uint64(889523592379), np.uint64(24), np.uint64(52)
_FOUR_BYTES = np.uint64(0xFFFFFFFF)
# Behind a match every byte is looked at for so many, then every number; ever fewer after each so many without a match.
_CLOSE, _PATIENCE = 16, 64


@helper
def _put_length(target, to, rest):
    while rest >= 255:
        target[to] = np.uint8(255)
        to += 1
        rest -= 255
    target[to] = np.uint8(rest)
    return to + 1


@helper
def _put_literals(source, start, end, target, to, token):
    """Bytes as they are, behind a token that tells of them and, in its lower half, of a match."""
    count = end - start
    target[to] = np.uint8(min(count, 15) << 4 | token)
    to += 1
    if count >= 15:
        to = _put_length(target, to, count - 15)
    copy_bytes(source, start, target, to, count)
    return to + count


@helper
def _match_end(source, at, before, end):
    """Where bytes from `at` on are not those from `before` on, at `end` at the latest."""
    while at + 8 <= end:
        differing = load_le64(source, at) ^ load_le64(source, before)
        if differing != np.uint64(0):
            return at + (trailing_zeros(differing) >> 3)
        at += 8
        before += 8
    while at < end and byte_at(source, at) == byte_at(source, before):
        at += 1
        before += 1
    return at


@helper
def lz4_block(source, first, end, width, target, to, heads, origin):
    """Compress `source[:end]` to a block at `target[to:]`, which has room for `packed_bound`; where it ends.

    Args:
        first: where numbers of `width` bytes (1, 4 or 8) begin; 8 bytes behind `end` may be read.
        heads: int32[HEADS], positions plus `origin`; all of them below `origin` before.
    """
    anchor = 0
    at = first
    looked = _CLOSE
    while at <= end - _MARGIN:
        word = load_le64(source, at)
        slot = np.int64(((word << _SHIFT) * _FACTOR) >> _SLOT)
        found = np.int64(heads[slot]) - origin
        heads[slot] = np.int32(at + origin)
        if found < 0 or at - found > _FARTHEST or (load_le64(source, found) ^ word) & _FOUR_BYTES != np.uint64(0):
            looked += 1
            if looked <= _CLOSE:
                at += 1
            else:
                at += width * (1 + (looked - _CLOSE) // _PATIENCE) - ((at - first) & (width - 1))
            continue
        offset = at - found
        while at > anchor and at > offset and byte_at(source, at - 1) == byte_at(source, at - offset - 1):
            at -= 1
        stop = _match_end(source, at + _SHORTEST, at + _SHORTEST - offset, end - _LAST)
        more = stop - at - _SHORTEST
        to = _put_literals(source, anchor, at, target, to, min(more, 15))
        target[to] = np.uint8(offset & 255)
        target[to + 1] = np.uint8(offset >> 8)
        to += 2
        if more >= 15:
            to = _put_length(target, to, more - 15)
        anchor = at = stop
        looked = 0
    return _put_literals(source, anchor, end, target, to, ZERO)
