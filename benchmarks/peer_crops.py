"""Runs in CytoTable's environment: its image export of one joined table; REQUEST RESPONSE, as files of JSON."""

import hashlib
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
from cytotable.warehouse.images import image_crop_table_from_joined_chunk


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text())
    started = time.perf_counter()
    table = image_crop_table_from_joined_chunk(request["cells"], request["image_dir"], crop_workers=request["workers"])
    seconds = time.perf_counter() - started
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(one.ru_utime + one.ru_stime for one in used)
    sides = [f"source_bbox_{side}" for side in ("x_min", "x_max", "y_min", "y_max")]
    found = {}
    for row in table.select(["source_image_file", *sides, "ome_arrow_image"]).to_pylist():
        (plane,) = row["ome_arrow_image"]["planes"]
        digest = hashlib.sha1(np.asarray(plane["pixels"], np.uint16).tobytes()).hexdigest()
        found[json.dumps([row["source_image_file"], *(row[side] for side in sides)])] = digest
    Path(sys.argv[2]).write_text(json.dumps({"seconds": seconds, "cpu": cpu, "digests": found}))


if __name__ == "__main__":  # its workers import this again
    main()
