"""Checksums of whole files are those of the tools that users have."""

import random
import zlib
from pathlib import Path

import pytest
import xxhash

from cytotable_dagster.core.support.digests import crc32_of, digest_of

BLOCK = 1 << 18


@pytest.mark.parametrize("size", [0, 1, 15, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 12345])
def test_sums_are_of_all_of_a_file(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    content = random.Random(size).randbytes(size)
    path.write_bytes(content)
    assert crc32_of(path) == zlib.crc32(content)
    assert digest_of(path) == f"xxh3-128:{xxhash.xxh3_128(content).hexdigest()}"


def test_a_sum_goes_on_from_that_of_another_file(tmp_path: Path) -> None:
    contents = [random.Random(n).randbytes(BLOCK // 2 + n * 100_000) for n in range(4)]
    found = 0
    for number, content in enumerate(contents):
        path = tmp_path / str(number)
        path.write_bytes(content)
        found = crc32_of(path, found)
    assert found == zlib.crc32(b"".join(contents))
