"""Files that go up to Azure Blob Storage in parts: blocks of their blob.

Each is verified by its MD5 and named by number and MD5; they are no part of the blob before they are committed. Blocks
that nobody commits are removed by the store after a week, or when the blob is written.
https://learn.microsoft.com/rest/api/storageservices/put-block
"""

import hashlib
import io
from collections.abc import Sequence
from contextlib import suppress

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.storage.address import place_of
from cytotable_dagster.core.storage.az_session import Session, only
from cytotable_dagster.core.storage.objects import OF_PARTS, Begun, md5_of_parts

# The one upload that a blob may have.
MARK = "blocks"
# Seconds for an answer where thousands of blocks are put together.
_COMMIT_SECONDS = 300.0


def begun(session: Session, uri: str) -> Begun | None:
    """See `objects.Client`."""
    found: dict[int, tuple[int, str]] = {}
    with suppress(CytoTableError):
        blob = session.blob(*place_of(uri))
        answer = session.call(uri, blob.get_block_list, writing=True, block_list_type="uncommitted")
        for block in answer[1]:
            number, _, md5 = block.id.partition("-")
            if number.isdecimal():
                found[int(number)] = block.size, md5
    return Begun(MARK, found) if found else None


def send(session: Session, uri: str, number: int, content: io.BytesIO) -> str:
    """Upload a block; its MD5."""
    digest = hashlib.md5(content.getbuffer(), usedforsecurity=False).hexdigest()
    session.send(uri, session.blob(*place_of(uri)).stage_block, content, block_id=_block_id(number, digest))
    return digest


def commit(session: Session, uri: str, parts: Sequence[str], *, only_if_new: bool) -> None:
    """Make the blob of these blocks, of which their MD5s are given."""
    from azure.storage.blob import BlobBlock

    session.call(
        uri,
        session.blob(*place_of(uri)).commit_block_list,
        writing=True,
        conditional=only_if_new,
        seconds=_COMMIT_SECONDS,
        block_list=[BlobBlock(_block_id(number, md5)) for number, md5 in enumerate(parts, 1)],
        metadata={OF_PARTS: md5_of_parts(parts)},
        **(only("") if only_if_new else {}),
    )


def _block_id(number: int, md5: str) -> str:
    # All of a blob's are of one length.
    return f"{number:05}-{md5}"
