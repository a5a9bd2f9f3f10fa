"""Pictures in the pages of the web UI, and beside a plate's tables.

The UI shows text of up to 1,000 characters in a page, and hides what is longer behind a button. A picture is therefore
put where the web server serves the logs of steps from, and the page names its address.
"""

import base64
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from cytotable_dagster.core.pictures.drawing import DPI, WIDTH
from cytotable_dagster.core.support.files import whole_file

if TYPE_CHECKING:
    from PIL.Image import Image

# Below the folder of the logs, and below /logs of the web server.
_FOLDER = "pictures"
# Bytes of a picture that is in the text of a page, which loads those of all materializations at once.
_IN_TEXT = 48_000


def in_page(instance: dg.DagsterInstance, png: bytes, words: str) -> dg.MarkdownMetadataValue:
    """A picture as metadata: shown in the page where logs lie on this machine, behind a button elsewhere.

    One that is wider than the page shows is made narrower, and leads to the whole one.
    """
    from PIL import Image

    picture = Image.open(io.BytesIO(png))
    small = _narrower(picture, round(WIDTH * DPI))
    whole = _address(instance, png)
    if whole is None:
        return dg.MetadataValue.md(f"![{words}](data:image/png;base64,{base64.b64encode(_few_bytes(small)).decode()})")
    shown = whole if small is picture else _address(instance, _as_png(small))
    return dg.MetadataValue.md(f"[![{words}]({shown})]({whole})")


def _narrower(picture: "Image", width: int) -> "Image":
    if picture.width <= width:
        return picture
    return picture.convert("RGB").resize((width, round(picture.height * width / picture.width)))


def _as_png(picture: "Image") -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def _few_bytes(picture: "Image") -> bytes:
    """A picture with fewer colours, then smaller, until it is small enough for a text."""
    content = _as_png(picture)
    for colours in (256, 128, 64, 32):
        if len(content) <= _IN_TEXT:
            return content
        content = _as_png(picture.convert("RGB").quantize(colours))
    while len(content) > _IN_TEXT and picture.width > 200:
        picture = _narrower(picture, int(picture.width * 0.8))
        content = _as_png(picture.convert("RGB").quantize(128))
    return content


def _address(instance: dg.DagsterInstance, png: bytes) -> str | None:
    """Where the web server has a picture, put there; None where it asks a store, or nothing, for logs."""
    # Of managers only the local one has it.
    local = getattr(instance.compute_log_manager, "get_captured_local_path", None)
    if local is None:
        return None
    path = Path(local([_FOLDER, hashlib.sha256(png).hexdigest()[:20]], "png"))
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            temporary.write_bytes(png)
    # The last part of such an address is the ending of the file.
    return f"/logs/{_FOLDER}/{path.stem}/png"
