"""Plates that lie in Parquet files: tables of CellProfiler, results of CytoTable or of this converter, joined or not.

Imports what `sources` may. Knows nothing of SQLite, CSV and NPZ.
"""
