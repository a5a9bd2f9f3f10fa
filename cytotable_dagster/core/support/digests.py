"""Checksums of whole files."""

import hashlib
import zlib
from pathlib import Path

_BLOCK = 8 << 20


def md5_of(path: Path) -> str:
    """The MD5 of a file, in hexadecimal, as `md5sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def crc32_of(path: Path, digest: int = 0) -> int:
    """The CRC-32 of a file: what `add_tablenumber` tells plates apart by; going on from that of another."""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest = zlib.crc32(block, digest)
    return digest
