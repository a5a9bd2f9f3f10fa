"""What a store says of an object's content is compared with what came, in every form that it is said in."""

import base64
import hashlib
import random
import zlib
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path

import pytest

from cytotable_dagster.core.intake import verify as verifying
from cytotable_dagster.core.storage.objects import Remote
from cytotable_dagster.core.storage.upload import part_bytes

MIB = 1 << 20
CONTENT = random.Random(1).randbytes(21 * MIB + 5)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("verify") / "file"
    path.write_bytes(CONTENT)
    return path


def verify(path: Path, said: Remote, sizes_of) -> verifying.Verdict:
    return verifying.verify(partial(path.open, "rb"), said, sizes_of)


def parts(*sizes: int) -> list[bytes]:
    return [CONTENT[begin:end] for begin, end in pairwise(accumulate(sizes, initial=0))]


def equal(size: int) -> list[int]:
    whole, rest = divmod(len(CONTENT), size)
    return [size] * whole + [rest] * (rest > 0)


def etag_of(sizes: list[int]) -> str:
    return f"{hashlib.md5(b''.join(hashlib.md5(p).digest() for p in parts(*sizes))).hexdigest()}-{len(sizes)}"


def remote(etag: str, **more) -> Remote:
    return Remote("s3://b/k", len(CONTENT), etag, **more)


def unasked(count: int) -> list[int]:
    raise AssertionError("nobody has to ask for the parts")


def untold(count: int) -> list[int]:
    return []


def damaged(path: Path, tmp_path: Path) -> Path:
    """A copy with one bit changed, in the last part."""
    copy = tmp_path / "damaged"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    copy.write_bytes(content)
    return copy


@pytest.mark.parametrize("size", [5 * MIB, 8 * MIB, 10 * MIB, 16 * MIB, 32 * MIB, 7 * MIB, 10**7])
def test_parts_of_usual_sizes_are_found_without_being_told(file, size):
    verdict = verify(file, remote(etag_of(equal(size))), untold)
    assert (verdict.wrong, verdict.unverified) == (None, None)
    assert verdict.md5 == hashlib.md5(CONTENT).hexdigest()


def test_parts_that_leave_no_rest_are_found_without_being_told(tmp_path):
    whole = tmp_path / "whole"
    whole.write_bytes(CONTENT[: 16 * MIB])
    said = Remote("s3://b/k", 16 * MIB, etag_of([8 * MIB, 8 * MIB]))
    verdict = verify(whole, said, untold)
    assert (verdict.wrong, verdict.unverified) == (None, None)


def test_parts_of_this_packages_own_uploads_are_known():
    from cytotable_dagster.core.intake.verify import _growing

    sizes = _growing(sum(part_bytes(number) for number in range(1, 2100)) + 1)
    assert sizes[1999:2001] == [16 * MIB, 32 * MIB]
    assert len(sizes) == 2100


@pytest.mark.parametrize("sizes", [[6 * MIB + 1, 6 * MIB + 1, 9 * MIB + 3], [5 * MIB, 16 * MIB + 5]])
def test_other_parts_are_asked_for(file, tmp_path, sizes):
    said = remote(etag_of(sizes))
    assert verify(file, said, lambda count: sizes[:count]) == verify(
        file, remote(hashlib.md5(CONTENT).hexdigest()), untold
    )
    assert "MD5 of its" in (verify(damaged(file, tmp_path), said, lambda count: sizes[:count]).wrong or "")
    assert "unknown sizes" in (verify(file, said, untold).unverified or "")


def test_a_changed_bit_is_seen_where_the_store_tells_the_parts(file, tmp_path):
    sizes = equal(8 * MIB)
    assert verify(damaged(file, tmp_path), remote(etag_of(sizes)), lambda count: sizes[:count]).wrong


@pytest.mark.parametrize("name", ["SHA256", "SHA1", "CRC32"])
@pytest.mark.parametrize("sizes", [None, [8 * MIB, 8 * MIB, 5 * MIB + 5]])
def test_checksums_that_the_store_keeps_come_first(file, tmp_path, name, sizes):
    def digest(content: bytes) -> bytes:
        return zlib.crc32(content).to_bytes(4, "big") if name == "CRC32" else hashlib.new(name, content).digest()

    value = digest(CONTENT if sizes is None else b"".join(map(digest, parts(*sizes))))
    said = base64.b64encode(value).decode() + (f"-{len(sizes)}" if sizes else "")
    known = remote("no digest", checksums={name: said}, encrypted=True)
    asked = unasked if sizes is None else lambda count: sizes[:count]
    verdict = verify(file, known, asked)
    assert (verdict.wrong, verdict.unverified) == (None, None)
    assert name in (verify(damaged(file, tmp_path), known, asked).wrong or "")


def test_an_etag_of_an_encrypted_object_is_no_digest(file):
    verdict = verify(file, remote("0" * 32, encrypted=True), unasked)
    assert verdict.wrong is None
    assert "encrypts" in (verdict.unverified or "")


@pytest.mark.parametrize("etag", ["abc", "x-3", "-", "0" * 32 + "-0", "0" * 32 + "-99999"])
def test_an_etag_that_says_nothing_is_told(file, etag):
    assert verify(file, remote(etag), untold).unverified
