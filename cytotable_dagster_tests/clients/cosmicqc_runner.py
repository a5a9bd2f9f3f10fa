"""Runs in coSMicQC's environment: its default conditions on joined tables; answers on standard output."""

import json
import sys

import pandas as pd
from cosmicqc import label_outliers


def main() -> None:
    answers = {}
    for name, path in json.load(sys.stdin)["tables"].items():
        labelled = label_outliers(df=path, include_threshold_scores=True)
        scores = [column for column in labelled.columns if column.endswith("_zscore")]
        answers[name] = {
            "rows": len(labelled),
            "scores": {column: int(pd.DataFrame(labelled)[column].notna().sum()) for column in scores},
        }
    print(json.dumps(answers))


main()
