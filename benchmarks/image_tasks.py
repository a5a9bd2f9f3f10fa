"""What is measured of crops in a process of its own; see `tasks`."""

import json
import time
from pathlib import Path
from typing import Any

Facts = dict[str, Any]


def crops(cells: str, **options: Any) -> Facts:
    """Our crops of a table of cells, each batch let go when the next one comes."""
    from cytotable_dagster import crops

    started, busy = time.perf_counter(), time.process_time()
    made = crops(cells, **options)
    count = sum(batch.num_rows for batch in made)
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    return {"seconds": seconds, "cpu": cpu, "crops": count, "channels": len(made.channels)}


def crops_saved(cells: str, dest: str, **options: Any) -> Facts:
    """Our crops of a table of cells as a Lance dataset."""
    from cytotable_dagster import crops, save_crops

    started, busy = time.perf_counter(), time.process_time()
    made = crops(cells, **options)
    save_crops(made, dest)
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    return {"seconds": seconds, "cpu": cpu, "crops": len(made), "channels": len(made.channels)}


def crops_digests(cells: str, size: int) -> Facts:
    """The pixels of the bounding boxes of cells, by file and box, as digests."""
    import hashlib

    import numpy as np

    from cytotable_dagster import crops

    started = time.perf_counter()
    made = crops(cells, around="box", size=size)
    found = {}
    for batch in made:
        pixels = batch.column("crop").to_numpy_ndarray()
        for row, crop in zip(batch.drop_columns(["crop"]).to_pylist(), pixels, strict=True):
            key = tuple(row[name] for name in made.files.keys)
            height, width = row["y_max"] - row["y_min"], row["x_max"] - row["x_min"]
            top, left = (size - height) // 2, (size - width) // 2
            for place, channel in enumerate(made.channels):
                inside = crop[place, top : top + height, left : left + width].astype(np.uint16)
                name = Path(made.files.files[key][channel].uri).name
                box = [row[side] for side in ("x_min", "x_max", "y_min", "y_max")]
                found[json.dumps([name, *box])] = hashlib.sha1(inside.tobytes()).hexdigest()
    return {"seconds": time.perf_counter() - started, "digests": found}


def crops_and_floor(cells: str, size: int, pairs: int) -> Facts:
    """Processor seconds of our crops, and by turns of the floor: each image read by tifffile and sliced, knowing which
    cells are on it."""
    from cytotable_dagster import crops

    made = crops(cells, size=size)
    places: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    table = made.cells.to_pydict()
    for row in range(len(made)):
        key = tuple(table[name][row] for name in made.files.keys)
        x, y = (table[f"Nuclei_Location_Center_{axis}"][row] for axis in ("X", "Y"))
        if x is None or y is None:
            x, y = (table[f"Cells_Location_Center_{axis}"][row] for axis in ("X", "Y"))
        places.setdefault(key, []).append((x, y))
    files = [([made.files.files[key][name].uri for name in made.channels], spots) for key, spots in places.items()]
    facts: Facts = {"seconds": 0, "ours": [], "floor": [], "crops": len(made), "channels": len(made.channels)}
    # The first turn loads what either needs.
    for turn in range(pairs + 1):
        started = time.process_time()
        count = sum(batch.num_rows for batch in made)
        between = time.process_time()
        assert _floor(files, size, made.dtype) == count
        if turn:
            facts["ours"].append(between - started)
            facts["floor"].append(time.process_time() - between)
    return facts


def _floor(files: Any, size: int, dtype: Any) -> int:
    """Crops around spots by tifffile and slices, of one image after the other; how many."""
    import numpy as np
    import tifffile

    count = 0
    for own, spots in files:
        out = np.zeros((len(spots), len(own), size, size), dtype)
        for place, path in enumerate(own):
            image = np.pad(tifffile.imread(path), size)
            for cell, (x, y) in enumerate(spots):
                top, left = int(y + 0.5) + size // 2, int(x + 0.5) + size // 2
                out[cell, place] = image[top : top + size, left : left + size]
        count += len(out)
    return count
