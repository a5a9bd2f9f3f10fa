"""Image files as pixels: TIFF (compressed, multi-page, pyramids) and PNG, of this machine or out of a store.

Of several pages, levels or series it is the first; of colours the mean. A file says how large its image is before any
memory is taken for it.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import CytoTableError, OptionError
from cytotable_dagster.core.shown import one_line
from cytotable_dagster.core.storage.address import is_remote
from cytotable_dagster.core.storage.objects import answered
from cytotable_dagster.core.storage.store import Clients, Store

if TYPE_CHECKING:
    import numpy as np

# A scanned slide's worth; a field of view has 1 to 25 million pixels, of two bytes.
MOST_PIXELS = 1 << 28
MOST_BYTES = 1 << 30
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEAD = 64
# Values of a pixel, by what PNG calls its colour type; a palette's colours are three or four.
_PNG_VALUES = {0: 1, 2: 3, 4: 2}


class ImageError(CytoTableError, ValueError):
    """An image that cannot be read; the message says which and why."""


@dataclass(frozen=True)
class Looks:
    """What a file says of its image: `height` and `width` in pixels, the type of its values."""

    height: int
    width: int
    dtype: "np.dtype[Any]"


Opener = Callable[[str], Any]


def opener(store: Store) -> Opener:
    """A function that opens a file by its address, binary and seekable; clients are shared by all threads."""
    clients = Clients(store)

    def open_(uri: str) -> Any:
        if not is_remote(uri):
            try:
                return Path(uri).open("rb")
            except (OSError, ValueError) as error:
                raise ImageError(f"{uri}: {getattr(error, 'strerror', None) or error}") from error
        client = clients.of(uri)

        def content() -> bytes:
            with client.read(uri) as body:
                _check_bytes(uri, body.said.size)
                return b"".join(body.blocks)

        return io.BytesIO(answered(content, uri, client.patience.seconds))

    return open_


def look_at(uri: str, open_: Opener) -> Looks:
    """What an image is like, without its pixels.

    Raises:
        ImageError: it is not there or no image.
    """
    looks, _ = _opened(uri, open_, pixels=False)
    return looks


def read(uri: str, open_: Opener) -> "np.ndarray":
    """The pixels of an image, shape (height, width), as they are stored.

    Raises:
        ImageError: it is not there, no image, broken, or too large.
    """
    _, pixels = _opened(uri, open_, pixels=True)
    assert pixels is not None
    return pixels


def _opened(uri: str, open_: Opener, *, pixels: bool) -> "tuple[Looks, np.ndarray | None]":
    try:
        with open_(uri) as file:
            head = file.read(_HEAD)
            file.seek(0)
            if head.startswith(_PNG):
                return _png(uri, head, file, pixels)
            if head[:4] in _TIFF:
                return _tiff(uri, file, pixels)
        what = "empty" if not head else "neither TIFF nor PNG"
        raise ImageError(f"{uri}: {what}; upload it again")
    except ImageError:
        raise
    except CytoTableError as error:
        raise ImageError(str(error)) from error
    except MemoryError as error:
        raise ImageError(f"{uri}: too large for the memory there is") from error
    except Exception as error:
        # Decoders raise whatever a broken file leads them to.
        raise ImageError(f"{uri}: broken ({one_line(str(error), 200) or type(error).__name__})") from error


def _tiff(uri: str, file: Any, pixels: bool) -> "tuple[Looks, np.ndarray | None]":
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        # Pages and not series: what a series says of its shape is text that anybody wrote.
        page = tiff.pages.first
        _check_size(uri, page.imagelength, page.imagewidth)
        if page.dtype is None:
            raise ImageError(f"{uri}: values of a type that nothing reads; write 8, 12 or 16 bits")
        _check_bytes(uri, page.nbytes)
        if page.is_tiled:
            # One tile is as large as it says, whatever the image is.
            _check_size(uri, page.tilelength, page.tilewidth)
        looks = Looks(page.imagelength, page.imagewidth, page.dtype)
        if not pixels:
            return looks, None
        size = file.seek(0, io.SEEK_END)
        ends = [at + count for at, count in zip(page.dataoffsets, page.databytecounts, strict=False)]
        if not ends or max(ends) > size:
            raise ImageError(f"{uri}: truncated, {size:,} bytes of {max(ends, default=0):,}; upload it again")
        return looks, _grey(page.asarray(), looks)


def _png(uri: str, head: bytes, file: Any, pixels: bool) -> "tuple[Looks, np.ndarray | None]":
    import imagecodecs
    import numpy as np

    width, height, bits, colours = struct.unpack(">IIBB", head[16:26])
    _check_size(uri, height, width)
    _check_bytes(uri, height * width * (1 + (bits > 8)) * _PNG_VALUES.get(colours, 4))
    _check_bytes(uri, file.seek(0, io.SEEK_END))
    file.seek(0)
    looks = Looks(height, width, np.dtype("uint16" if bits > 8 else "uint8"))
    return looks, _grey(imagecodecs.png_decode(file.read()), looks) if pixels else None


def _check_size(uri: str, height: int, width: int) -> None:
    if height * width > MOST_PIXELS:
        raise ImageError(f"{uri}: says it has {width:,} x {height:,} pixels, more than {MOST_PIXELS:,}; it is not read")
    if not height * width:
        raise ImageError(f"{uri}: has no pixels")


def _check_bytes(uri: str, count: int) -> None:
    if count > MOST_BYTES:
        raise ImageError(f"{uri}: says it takes {count:,} bytes, more than {MOST_BYTES:,}; it is not read")


def _grey(image: "np.ndarray", looks: Looks) -> "np.ndarray":
    """One value a pixel: of a stack the first plane, of colours their mean, with no regard to transparency."""
    import numpy as np

    while image.ndim > 2 and image.shape[-1] not in (2, 3, 4):
        image = image[0]
    if image.ndim == 4:
        image = image[0]
    if image.ndim == 3 and image.shape[:2] == (looks.height, looks.width):
        colours = image[..., : 1 if image.shape[-1] == 2 else 3]
        image = np.rint(colours.mean(axis=-1)).astype(image.dtype)
    elif image.ndim == 3:
        image = image[0]
    return image.astype(np.uint8) if image.dtype == bool else image


def checked_dtype(name: str | None) -> "np.dtype[Any] | None":
    """The type that crops are asked for.

    Raises:
        OptionError: none that crops have.
    """
    import numpy as np

    if name not in (None, "uint8", "uint16", "float32"):
        raise OptionError(f"dtype {name!r} is not known; there are: uint8, uint16, float32")
    return None if name is None else np.dtype(name)
