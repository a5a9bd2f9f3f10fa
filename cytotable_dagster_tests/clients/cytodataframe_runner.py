"""Runs in CytoDataFrame's environment: which columns of joined tables it takes for pictures, and how many it shows with
the folders of `images`; on standard output."""

import json
import sys

from cytodataframe import CytoDataFrame


def main() -> None:
    answers = {}
    asked = json.load(sys.stdin)
    for name, path in asked["tables"].items():
        frame = CytoDataFrame(data=path)
        pictures = frame.find_image_columns()
        answers[name] = {
            "pictures": pictures,
            "folders": frame.find_image_path_columns(image_cols=pictures, all_cols=list(frame.columns)),
            "boxes": list(frame.get_bounding_box_from_data().columns) if _has_boxes(frame) else [],
        }
        if name in asked.get("images", {}):
            shown = CytoDataFrame(data=path, data_context_dir=asked["images"][name])
            answers[name]["shown"] = shown._repr_html_(debug=True).count("data:image/png")
    print(json.dumps(answers))


def _has_boxes(frame: CytoDataFrame) -> bool:
    return any("BoundingBox" in column for column in frame.columns)


main()
