"""Runs in coSMicQC's environment, where dask and ome-arrow are too: its default conditions on joined tables, datasets as
dask reads them, and crops as ome-arrow does; answers on standard output."""

import json
import sys

import pandas as pd
from cosmicqc import label_outliers


def rows_by_plate(dataset: str) -> dict[str, int]:
    """Rows of a dataset's table for each plate, as dask counts them."""
    import dask.dataframe as dd

    return {
        str(plate): int(rows)
        for plate, rows in dd.read_parquet(dataset).Metadata_Plate.value_counts().compute().items()
    }


def pixels_of(crops: str) -> list:
    """The pixels of a table's crops, as ome-arrow gives them."""
    import pyarrow.parquet as pq
    from ome_arrow import OMEArrow

    return [OMEArrow(crop).export(how="numpy").tolist() for crop in pq.read_table(crops)["crop"]]


def main() -> None:
    asked = json.load(sys.stdin)
    answers = {"dataset": rows_by_plate(asked["dataset"])} if "dataset" in asked else {}
    answers |= {"crops": pixels_of(asked["crops"])} if "crops" in asked else {}
    for name, path in asked.get("tables", {}).items():
        labelled = label_outliers(df=path, include_threshold_scores=True)
        scores = [column for column in labelled.columns if column.endswith("_zscore")]
        answers[name] = {
            "rows": len(labelled),
            "scores": {column: int(pd.DataFrame(labelled)[column].notna().sum()) for column in scores},
        }
    print(json.dumps(answers))


main()
