"""Parquet files: written, put one behind the other, and their columns chosen anew without decoding.

Imports `support`, `kernels` and `execution`. Knows nothing of plates.
"""
