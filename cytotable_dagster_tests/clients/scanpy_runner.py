"""Runs in scanpy's environment, with an older AnnData and the Zarr before 3; answers on standard output."""

import json
import sys
from importlib.metadata import version

import anndata
import numpy as np
import scanpy


def answer(path: str) -> dict:
    """What is in an AnnData, and its principal components."""
    cells = anndata.read_h5ad(path) if path.endswith(".h5ad") else anndata.read_zarr(path)
    told = {
        "x": [[None if np.isnan(value) else float(value) for value in row] for row in cells.X],
        "obs": {name: cells.obs[name].astype(str).tolist() for name in cells.obs},
        "var": cells.var_names.tolist(),
        "names": cells.obs_names.tolist(),
        "channels": cells.var["channel"].astype(object).where(cells.var["channel"].notna(), None).tolist(),
        "spatial": cells.obsm["spatial"].tolist(),
        "facts": dict(cells.uns["cytotable_dagster"]),
    }
    whole = cells[:, np.isfinite(cells.X).all(axis=0) & (np.std(cells.X, axis=0) > 0)].copy()
    scanpy.pp.scale(whole)
    scanpy.pp.pca(whole, n_comps=10)
    told["explained"] = whole.uns["pca"]["variance_ratio"].tolist()
    told["pca"] = list(whole.obsm["X_pca"].shape)
    told["features"] = whole.n_vars
    return told


def main() -> None:
    asked = json.load(sys.stdin)
    versions = {name: version(name) for name in ("anndata", "scanpy", "zarr", "h5py")}
    print(json.dumps({"versions": versions, **{name: answer(path) for name, path in asked["cells"].items()}}))


main()
