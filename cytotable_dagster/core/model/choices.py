"""Words that options take, where the rooms that act on them are too much to load for a shell that only lists them."""

# Which images are looked at: none, whether each exists, or its checksum too.
NONE, EXISTS, MD5 = "none", "exists", "md5"
VERIFY = (NONE, EXISTS, MD5)
# What a crop is in a dataset of them.
TENSOR, OME_ARROW = "tensor", "ome-arrow"
CROP_TYPES = (TENSOR, OME_ARROW)
# What results are written as, and to.
PARQUET, ICEBERG = "parquet", "iceberg"
H5AD, ZARR = "anndata_h5ad", "anndata_zarr"
DEST_DATATYPES = (PARQUET, H5AD, ZARR)
BACKENDS = (PARQUET, ICEBERG)
