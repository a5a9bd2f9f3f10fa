"""Files compared by their digests: a comparison that fails shows a line for each file, and not its bytes."""

import hashlib
from pathlib import Path


def digest(content: Path | bytes) -> str:
    """What tells a file's content, or bytes, from any other."""
    data = content if isinstance(content, bytes) else content.read_bytes()
    return f"{len(data):,} bytes, {hashlib.md5(data, usedforsecurity=False).hexdigest()}"


def digests(folder: Path, pattern: str = "*") -> dict[str, str]:
    """The digests of the files below a folder, by their path in it."""
    return {str(path.relative_to(folder)): digest(path) for path in folder.rglob(pattern) if path.is_file()}
