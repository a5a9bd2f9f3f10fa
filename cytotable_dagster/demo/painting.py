"""Drawing a field of view: three fluorescence channels of cells that touch, with noise and background.

The drawing is the microscope of the demo. What is measured comes from the pixels alone (`segmenting.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytotable_dagster.demo.extras import need

CHANNELS = ("DNA", "ER", "AGP")
"""Stains of Cell Painting, as their files are numbered: nuclei; endoplasmic reticulum; actin and Golgi."""

NUCLEUS_RADIUS = 7.5
CELL_RADIUS = 17.0
CAMERA_OFFSET = 200
SATURATION = 65535

Pixels = NDArray[np.float64]
Image = NDArray[np.uint16]


@dataclass(frozen=True)
class Look:
    """What a treatment does to the cells of a well; factors, 1.0 is untreated."""

    cells: int
    cell_size: float = 1.0
    nucleus_size: float = 1.0
    er: float = 1.0
    agp: float = 1.0


@dataclass(frozen=True)
class _Outline:
    """A closed curve around a centre: an ellipse with a wavy radius. Lengths in pixels, angles in radians."""

    y: float
    x: float
    radius: float
    elongation: float
    angle: float
    waves: tuple[float, ...]
    phases: tuple[float, ...]


def paint_site(rng: np.random.Generator, size: int, look: Look) -> Mapping[str, Image]:
    """One field of view of `size` x `size` pixels: channel -> 16-bit image."""
    cells = [_cell_at(rng, y, x, look) for y, x in _scatter(rng, size, look.cells, CELL_RADIUS * look.cell_size)]
    depth, nuclear_depth, golgi, owner = _stack(rng, size, cells)
    stains = _stain(rng, len(cells), depth, nuclear_depth, golgi, owner, look)
    return {channel: _photograph(rng, stains[channel]) for channel in CHANNELS}


def blank_image(size: int) -> Image:
    """What a camera gives whose shutter stayed closed and whose driver subtracted the noise."""
    return np.full((size, size), CAMERA_OFFSET, dtype=np.uint16)


def _scatter(rng: np.random.Generator, size: int, count: int, radius: float) -> list[tuple[float, float]]:
    """Centres of cells: every second one beside a cell that is already there, as after a division."""
    centres: list[tuple[float, float]] = []
    for _ in range(count * 20):
        if len(centres) == count:
            break
        if centres and rng.random() < 0.5:
            y, x = centres[rng.integers(len(centres))]
            turn, step = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.9, 1.5)
            y, x = y + step * np.sin(turn), x + step * np.cos(turn)
        else:
            y, x = rng.uniform(0, size, 2)
        clear = all((y - v) ** 2 + (x - u) ** 2 > (0.85 * radius) ** 2 for v, u in centres)
        if clear and 0 <= y < size and 0 <= x < size:
            centres.append((float(y), float(x)))
    return centres


def _outline(
    rng: np.random.Generator, y: float, x: float, radius: float, elongation: float, roughness: float
) -> _Outline:
    return _Outline(
        y=y,
        x=x,
        radius=radius,
        elongation=elongation,
        angle=float(rng.uniform(0, np.pi)),
        waves=tuple(rng.normal(0, roughness, 4) / np.arange(1, 5)),
        phases=tuple(rng.uniform(0, 2 * np.pi, 4)),
    )


def _cell_at(rng: np.random.Generator, y: float, x: float, look: Look) -> tuple[_Outline, _Outline]:
    """The outlines of a cell and of its nucleus."""
    radius = CELL_RADIUS * look.cell_size * rng.lognormal(0, 0.12)
    nucleus_radius = min(NUCLEUS_RADIUS * look.nucleus_size * rng.lognormal(0, 0.15), 0.7 * radius)
    shift_y, shift_x = rng.normal(0, 0.08 * radius, 2)
    cell = _outline(rng, y, x, radius, rng.uniform(1.0, 1.45), 0.13)
    nucleus = _outline(rng, y + shift_y, x + shift_x, nucleus_radius, rng.uniform(1.0, 1.35), 0.04)
    return cell, nucleus


def _depth(outline: _Outline, ys: Pixels, xs: Pixels) -> Pixels:
    """Distance from the centre as a share of the outline's radius in that direction: 0 centre, 1 edge."""
    dy, dx = ys - outline.y, xs - outline.x
    cos, sin = np.cos(outline.angle), np.sin(outline.angle)
    stretch = np.sqrt(outline.elongation)
    along, across = (dx * cos + dy * sin) / stretch, (dy * cos - dx * sin) * stretch
    theta = np.arctan2(across, along)
    radius = np.full_like(theta, outline.radius)
    for order, (wave, phase) in enumerate(zip(outline.waves, outline.phases, strict=True), start=2):
        radius += outline.radius * wave * np.cos(order * theta + phase)
    return np.hypot(along, across) / np.maximum(radius, 1.0)


def _stack(
    rng: np.random.Generator, size: int, cells: list[tuple[_Outline, _Outline]]
) -> tuple[Pixels, Pixels, Pixels, NDArray[np.intp]]:
    """All cells in one field; where two overlap, the pixel is of the one whose centre is nearer.

    Returns:
        depth in the cell, depth in its nucleus, brightness of the Golgi apparatus, and the number of the cell
        from 1 (0: none), each of shape (size, size).
    """
    depth = np.full((size, size), np.inf)
    nuclear_depth = np.full((size, size), np.inf)
    golgi = np.zeros((size, size))
    owner = np.zeros((size, size), dtype=np.intp)
    for number, (cell, nucleus) in enumerate(cells, start=1):
        reach = int(1.6 * cell.radius) + 2
        top, left = max(int(cell.y) - reach, 0), max(int(cell.x) - reach, 0)
        window = np.s_[top : min(int(cell.y) + reach, size), left : min(int(cell.x) + reach, size)]
        ys, xs = np.ogrid[window]
        here = _depth(cell, ys, xs)
        nearer = here < depth[window]
        depth[window] = np.where(nearer, here, depth[window])
        owner[window] = np.where(nearer & (here < 1), number, owner[window])
        nuclear_depth[window] = np.minimum(nuclear_depth[window], _depth(nucleus, ys, xs))
        turn = rng.uniform(0, 2 * np.pi)
        spot_y = nucleus.y + 1.3 * nucleus.radius * np.sin(turn)
        spot_x = nucleus.x + 1.3 * nucleus.radius * np.cos(turn)
        golgi[window] += np.exp(-((ys - spot_y) ** 2 + (xs - spot_x) ** 2) / (0.12 * nucleus.radius**2 + 3.0))
    return depth, nuclear_depth, golgi, owner


def _grain(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Pixels:
    """Smooth random texture of standard deviation 1; `sigma` in pixels."""
    noise = need("scipy.ndimage").gaussian_filter(rng.standard_normal(shape), sigma)
    return noise / noise.std()


def _stain(
    rng: np.random.Generator,
    count: int,
    depth: Pixels,
    nuclear_depth: Pixels,
    golgi: Pixels,
    owner: NDArray[np.intp],
    look: Look,
) -> Mapping[str, Pixels]:
    """Light of each channel, in camera counts above the offset; every cell has its own brightness."""
    inside = owner > 0
    nucleus = 1 / (1 + np.exp(np.clip((nuclear_depth - 1) * 14, -50, 50)))

    def brightness(mean: float, spread: float) -> Pixels:
        return np.append(0.0, rng.lognormal(np.log(mean), spread, count))[owner]

    shape = depth.shape
    around_nucleus = np.exp(-np.clip(nuclear_depth - 1, 0, 50) / 0.9)
    edge = np.exp(-(((np.where(inside, depth, 9) - 0.92) / 0.10) ** 2))
    dna = brightness(6500, 0.22) * nucleus * (1 + 0.13 * _grain(rng, shape, 1.4)) + 120 * inside
    er = brightness(4200 * look.er, 0.25) * (0.30 + 0.70 * around_nucleus) * (1 - 0.55 * nucleus)
    agp = brightness(2600 * look.agp, 0.25) * (0.55 + 0.75 * edge + 1.6 * golgi - 0.25 * nucleus)
    return {
        "DNA": np.where(inside | (nucleus > 0.05), dna, 0),
        "ER": er * np.clip(1 + 0.22 * _grain(rng, shape, 1.1), 0.1, None),
        "AGP": agp * np.clip(1 + 0.18 * _grain(rng, shape, 0.9), 0.1, None),
    }


def _photograph(rng: np.random.Generator, light: Pixels) -> Image:
    """What the camera makes of it: background, uneven illumination, blur, shot noise, read noise, 16 bits."""
    size = light.shape[0]
    ys, xs = np.ogrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    illumination = 1 - 0.12 * (ys**2 + xs**2)
    background = rng.uniform(150, 320)
    blurred = need("scipy.ndimage").gaussian_filter((light + background) * illumination, 0.9)
    counts_per_photon = 6.0
    counts = rng.poisson(np.clip(blurred, 0, None) / counts_per_photon) * counts_per_photon
    counts += CAMERA_OFFSET + rng.normal(0, 12, light.shape)
    return np.clip(np.rint(counts), 0, SATURATION).astype(np.uint16)
