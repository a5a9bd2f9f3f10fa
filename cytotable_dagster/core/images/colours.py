"""Channels as colours, and pixels as something to look at: contrast by percentiles of images, never of one crop."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# What the channels of Cell Painting are shown in, by a part of their names; then the rest, in turn.
_OF_NAME = (
    ("dna", (70, 120, 255)),
    ("dapi", (70, 120, 255)),
    ("hoechst", (70, 120, 255)),
    ("er", (60, 220, 90)),
    ("agp", (255, 130, 40)),
    ("actin", (255, 130, 40)),
    ("rna", (240, 220, 60)),
    ("mito", (255, 60, 70)),
    ("gfp", (60, 220, 90)),
    ("rfp", (255, 60, 70)),
)
_IN_TURN = ((255, 60, 200), (60, 220, 220), (255, 255, 255), (200, 120, 255))
_LOW, _HIGH = 1.0, 99.7


@dataclass(frozen=True)
class Contrast:
    """The values of a channel that are black and full."""

    black: float
    full: float


def colours_of(channels: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """A colour for each channel, red, green and blue of 0 to 255; one channel alone is grey."""
    if len(channels) == 1:
        return {channels[0]: (255, 255, 255)}
    found: dict[str, tuple[int, int, int]] = {}
    rest = list(_IN_TURN)
    for channel in channels:
        plain = channel.lower().removeprefix("orig")
        known = next((colour for part, colour in _OF_NAME if part == plain or (len(part) > 2 and part in plain)), None)
        if known is None or known in found.values():
            known = rest.pop(0) if rest else (255, 255, 255)
        found[channel] = known
    return found


def contrast_of(images: Iterable["np.ndarray"]) -> Contrast:
    """The contrast of a channel, of some of its images."""
    import numpy as np

    values = [image[:: max(image.shape[0] // 256, 1), :: max(image.shape[1] // 256, 1)].ravel() for image in images]
    if not values:
        return Contrast(0.0, 1.0)
    black, full = np.percentile(np.concatenate(values), (_LOW, _HIGH))
    return Contrast(float(black), float(max(full, black + 1e-6)))


def composite(layers: "np.ndarray", channels: Sequence[str], contrasts: Mapping[str, Contrast]) -> "np.ndarray":
    """Layers of shape (channels, height, width) as one picture, shape (height, width, 3), 8 bits."""
    import numpy as np

    colours = colours_of(channels)
    picture = np.zeros((*layers.shape[1:], 3), np.float32)
    for layer, channel in zip(layers, channels, strict=True):
        contrast = contrasts[channel]
        shown = np.clip((layer.astype(np.float32) - contrast.black) / (contrast.full - contrast.black), 0, 1)
        picture += shown[..., None] * np.asarray(colours[channel], np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8)
