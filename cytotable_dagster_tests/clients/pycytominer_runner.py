"""Runs in pycytominer's environment: its functions, with their defaults, on joined tables; answers on standard output."""

import json
import sys
import traceback

import pandas as pd
from pycytominer import aggregate, annotate, consensus, feature_select, normalize
from pycytominer.cyto_utils import infer_cp_features


def answer(path: str, strata: list[str] | None) -> dict:
    """What comes of the whole way from cells to profiles, of wells and of cells."""
    by = {} if strata is None else {"strata": strata}
    replicates = {} if strata is None else {"replicate_columns": strata}
    cells = pd.read_parquet(path)
    features = infer_cp_features(cells)
    wells = cells["Metadata_Well"].unique() if "Metadata_Well" in cells else []
    platemap = pd.DataFrame({"well_position": wells, "gene": [f"G{n}" for n in range(len(wells))]})
    found = {"features": features, "metadata": infer_cp_features(cells, metadata=True)}
    profiles = aggregate(cells, compute_object_count=True, **by)
    found["counts"] = profiles["Metadata_Object_Count"].tolist()
    found["aggregated"] = infer_cp_features(profiles)
    for kind, table in (("wells", profiles), ("cells", cells)):
        annotated = annotate(table, platemap) if len(wells) else table
        normalized = normalize(annotated)
        # One row varies in nothing.
        selected = feature_select(normalized) if len(normalized) > 1 else normalized
        agreed = consensus(normalized, **replicates)
        found[kind] = {
            "rows": [len(annotated), len(normalized), len(selected), len(agreed)],
            "repeated": annotated.columns[annotated.columns.duplicated()].tolist(),
            "genes": sorted(set(annotated["Metadata_gene"])) if len(wells) else [],
            "normalized": infer_cp_features(normalized),
            "numeric": bool(normalized[features].dtypes.map(pd.api.types.is_numeric_dtype).all()),
        }
    return found


def main() -> None:
    asked = json.load(sys.stdin)
    answers = {}
    if "dataset" in asked:
        normalized = normalize(asked["dataset"])
        answers["dataset"] = normalized.groupby("Metadata_Plate").size().to_dict()
        answers["features"] = infer_cp_features(normalized)
    for name, (path, strata) in asked.get("tables", {}).items():
        try:
            answers[name] = answer(path, strata)
        except Exception:
            answers[name] = {"error": traceback.format_exc()}
    print(json.dumps(answers))


main()
