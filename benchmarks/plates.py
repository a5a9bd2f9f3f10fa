"""Plates to measure with, of a JUMP plate's width."""

from pathlib import Path

CELLS_PER_IMAGE = 180
PRESET = "cellprofiler_sqlite_cpg0016_jump"


def wide_plate(folder: Path, cells: int, *, cells_per_image: int = CELLS_PER_IMAGE) -> Path:
    """A plate of about so many cells in `folder`, where it is written unless it is there; 11,500 make 590 MB."""
    from cytotable_dagster.demo.wide import write_wide_plate

    images = images_of(cells, cells_per_image)
    path = folder / f"wide-{images}x{cells_per_image}.sqlite"
    if not path.exists():
        print(f"writing {path.name}", flush=True)
        write_wide_plate(path, images=images, objects_per_image=cells_per_image)
    return path


def images_of(cells: int, cells_per_image: int = CELLS_PER_IMAGE) -> int:
    return max(round(cells / cells_per_image), 1)
