"""Which sink results go to: by `dest_datatype`, `dest_backend` and the name."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from cytotable_dagster.core.errors import DatatypeError, OptionError
from cytotable_dagster.core.model.choices import BACKENDS, DEST_DATATYPES, H5AD, ICEBERG, PARQUET, ZARR
from cytotable_dagster.core.planning.options import one_of
from cytotable_dagster.core.sinks.anndata import AnnDataSink
from cytotable_dagster.core.sinks.iceberg.sink import IcebergSink
from cytotable_dagster.core.sinks.sink import Sink
from cytotable_dagster.core.storage.address import is_remote
from cytotable_dagster.core.support.arguments import mapping_in

# What a name that ends so is, where `dest_datatype` does not say otherwise.
_ENDINGS = {".h5ad": H5AD, ".zarr": ZARR}


def sink_for(
    dest_path: str | Path,
    dest_datatype: str,
    dest_backend: str,
    *,
    bbox_column_map: Mapping[str, str] | None = None,
    include_source_images: bool = False,
) -> Sink | None:
    """The sink; None for Parquet, which the converter writes itself.

    Raises:
        OptionError: an option that is another sink's.
        DatatypeError: there is no such datatype or backend, or the name says another.
    """
    one_of("dest_datatype", dest_datatype, DEST_DATATYPES, DatatypeError)
    one_of("dest_backend", dest_backend, BACKENDS, DatatypeError)
    ending = PurePosixPath(dest_path).suffix
    implied = _ENDINGS.get(ending, PARQUET if ending == ".parquet" else dest_datatype)
    if dest_datatype not in (implied, PARQUET):
        raise DatatypeError(
            f"{dest_path}: its name says {implied}, and dest_datatype={dest_datatype!r}; leave one of them out"
        )
    if dest_backend == ICEBERG:
        if implied != PARQUET or ending == ".parquet":
            raise DatatypeError(f"{dest_path}: dest_backend='iceberg' makes a folder of Iceberg tables; name a folder")
        if is_remote(str(dest_path)):
            raise OptionError(f"{dest_path}: a warehouse's catalog is a file of this machine; name a folder of it")
        given = mapping_in("bbox_column_map", bbox_column_map, "{'x_min': ...}")
        return IcebergSink(tuple(given.items()), include_source_images)
    for name, value in (("bbox_column_map", bbox_column_map), ("include_source_images", include_source_images or None)):
        if value is not None:
            raise OptionError(f"{name}= is for dest_backend='iceberg'; leave it out")
    return None if implied == PARQUET else AnnDataSink(implied)
