"""Whether a downloaded file is the object that it was made of: by a checksum that the store keeps, else by the ETag.

Of an object that was uploaded in one part the ETag is the MD5; of one in N parts, the MD5 of the parts' MD5s and `-N`,
so that one has to know where the parts begin. https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from typing import Any, BinaryIO, Protocol

from cytotable_dagster.core.storage.objects import OF_PARTS, Remote
from cytotable_dagster.core.storage.upload import part_bytes

_BLOCK = 8 << 20
# A larger one leaves the processor's cache before it is looked at.
_SHORT_BLOCK = 1 << 18
_MIB = 1 << 20
_MD5_ETAG = re.compile(r"[0-9a-f]{32}")
_OF_PARTS = re.compile(r"(.+)-(\d{1,5})")
# Sizes of parts that programs use, the commonest first: AWS's and boto3, s3fs and others, MinIO, this package, ...
_USUAL = (*(size * _MIB for size in (8, 5, 16, 64, 10, 32, 50, 100, 128, 256, 512, 1024)), 10**7, 10**8, 5 * 10**6)
# Layouts of parts that are tried, each of which is a pass over the file; parts whose sizes are asked for one by one.
_TRIED, _ASKED = 8, 64
_MOST_PARTS = 10_000


class _Hash(Protocol):
    def update(self, data: Any, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: Any) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


@dataclass(frozen=True)
class Verdict:
    """`md5` of the file; `wrong` says how it differs from the object, `unverified` why that could not be told."""

    md5: str
    wrong: str | None = None
    unverified: str | None = None


@dataclass(frozen=True)
class _Wanted:
    """A digest that the store tells: of the whole, or of `parts` parts."""

    name: str
    new: Callable[[], _Hash]
    digest: bytes
    parts: int = 0


def verify(opened: Callable[[], BinaryIO], remote: Remote, sizes_of: Callable[[int], Sequence[int]]) -> Verdict:
    """Compare a file with what the store says of its object.

    Args:
        opened: opens it, more than once and in several threads.
        sizes_of: the sizes in bytes of so many of the object's parts, from the first on, as the store tells them; it
            may tell of none.
    """
    wanted = _wanted(remote)
    if wanted is None:
        why = "the store encrypts it and keeps" if remote.encrypted else "the store keeps"
        return Verdict(_md5_of(opened), unverified=f"{why} no checksum of it that can be computed here")
    if wanted.name == "MD5" and not wanted.parts:
        md5 = _md5_of(opened)
        return Verdict(md5, None if bytes.fromhex(md5) == wanted.digest else f"its MD5 is {md5}, not {remote.etag}")
    with ThreadPoolExecutor(1) as beside:
        md5_beside = beside.submit(_md5_of, opened)
        wrong = unverified = None
        if wanted.parts:
            wrong, unverified = _by_parts(opened, remote, wanted, sizes_of)
        elif _digest(opened, [remote.size], wanted.new)[0] != wanted.digest:
            wrong = f"its {wanted.name} is not the store's"
        return Verdict(md5_beside.result(), wrong, unverified)


def _by_parts(
    opened: Callable[[], BinaryIO], remote: Remote, wanted: _Wanted, sizes_of: Callable[[int], Sequence[int]]
) -> tuple[str | None, str | None]:
    """How the file differs from the object, or why that cannot be told; neither where it does not."""

    def fits(sizes: Sequence[int]) -> bool:
        whole = wanted.new()
        whole.update(b"".join(_digest(opened, sizes, wanted.new)))
        return whole.digest() == wanted.digest

    first = sizes_of(1)
    layouts = [_equal(remote.size, wanted.parts, size) for size in first] or _guessed(remote.size, wanted.parts)
    layouts = [sizes for sizes in (*layouts, _growing(remote.size)) if len(sizes) == wanted.parts]
    if any(map(fits, layouts)):
        return None, None
    told = sizes_of(wanted.parts) if first and wanted.parts <= _ASKED else layouts[0] if first and layouts else ()
    if len(told) != wanted.parts or sum(told) != remote.size:
        parts = f"{wanted.parts} parts of unknown sizes"
        return None, f"it was uploaded in {parts}, and all that the store keeps is one {wanted.name} of theirs"
    return (None, None) if fits(told) else (f"the {wanted.name} of its {wanted.parts} parts is not the store's", None)


def _wanted(remote: Remote) -> _Wanted | None:
    """The digest to compare with: that of the whole rather than of parts, whose sizes one has to know."""
    found = []
    for name, new in _algorithms().items():
        if said := remote.checksums.get(name):
            value, parts = _split(said)
            with suppress(ValueError):
                found.append(_Wanted(name, new, base64.b64decode(value, validate=True), parts))
    value, parts = _split(remote.etag.lower())
    if not remote.encrypted and _MD5_ETAG.fullmatch(value):
        found.append(_Wanted("MD5", _md5, bytes.fromhex(value), parts))
    return min(found, key=lambda wanted: wanted.parts > 0, default=None)


def _md5() -> _Hash:
    return hashlib.md5(usedforsecurity=False)


def _md5_of(opened: Callable[[], BinaryIO]) -> str:
    with opened() as file:
        digest = hashlib.md5(usedforsecurity=False)
        while block := file.read(_SHORT_BLOCK):
            digest.update(block)
        return digest.hexdigest()


# What is not installed is not looked for again for each file.
@cache
def _algorithms() -> dict[str, Callable[[], _Hash]]:
    found: dict[str, Callable[[], _Hash]] = {
        "SHA256": hashlib.sha256,
        "SHA1": hashlib.sha1,
        "CRC32": _Crc32,
        "MD5": _md5,
        OF_PARTS: _md5,
    }
    with suppress(ImportError):
        from google_crc32c import Checksum  # of the extra gcs

        found["CRC32C"] = Checksum
    with suppress(ImportError):
        from awscrt import checksums as _  # noqa: F401
        from botocore.httpchecksum import CrtCrc32cChecksum, CrtCrc64NvmeChecksum  # of the extra botocore[crt]

        found |= {"CRC64NVME": CrtCrc64NvmeChecksum, "CRC32C": CrtCrc32cChecksum}
    return found


def _split(said: str) -> tuple[str, int]:
    """A digest, and of how many parts it is; 0 for one of the whole."""
    found = _OF_PARTS.fullmatch(said)
    return (found[1], int(found[2])) if found and int(found[2]) else (said, 0)


def _guessed(size: int, parts: int) -> list[list[int]]:
    """Sizes that the parts of an object may have."""
    if parts == 1:
        return [[size]]
    least, most = -(-size // parts), (size - 1) // (parts - 1)
    whole = range(-(-least // _MIB) * _MIB, min(most, least + _TRIED * _MIB) + 1, _MIB)
    found = [part for part in dict.fromkeys((*_USUAL, *whole)) if least <= part <= most]
    return [_equal(size, parts, part) for part in found[:_TRIED]]


def _equal(size: int, parts: int, part: int) -> list[int]:
    """Parts of one size, and a rest; as many as were asked for where that can be."""
    return [*[part] * (parts - 1), size - part * (parts - 1)] if 0 < size - part * (parts - 1) <= part else []


def _growing(size: int) -> list[int]:
    """The parts of this package's own uploads."""
    sizes: list[int] = []
    while size > 0 and len(sizes) < _MOST_PARTS:
        sizes.append(min(size, part_bytes(len(sizes) + 1)))
        size -= sizes[-1]
    return sizes


def _digest(opened: Callable[[], BinaryIO], sizes: Sequence[int], new: Callable[[], _Hash]) -> list[bytes]:
    """The digests of parts of a file that follow one another."""
    found = []
    with opened() as file:
        for begin, end in pairwise(accumulate(sizes, initial=0)):
            digest = new()
            for at in range(begin, end, _BLOCK):
                digest.update(file.read(min(_BLOCK, end - at)))
            found.append(digest.digest())
    return found
