"""Runs in CytoDataFrame's environment: which columns of joined tables it takes for pictures; on standard output."""

import json
import sys

from cytodataframe import CytoDataFrame


def main() -> None:
    answers = {}
    for name, path in json.load(sys.stdin)["tables"].items():
        frame = CytoDataFrame(data=path)
        pictures = frame.find_image_columns()
        answers[name] = {
            "pictures": pictures,
            "folders": frame.find_image_path_columns(image_cols=pictures, all_cols=list(frame.columns)),
            "boxes": list(frame.get_bounding_box_from_data().columns) if _has_boxes(frame) else [],
        }
    print(json.dumps(answers))


def _has_boxes(frame: CytoDataFrame) -> bool:
    return any("BoundingBox" in column for column in frame.columns)


main()
