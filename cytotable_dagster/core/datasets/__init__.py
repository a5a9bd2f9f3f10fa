"""Datasets: tables of many plates, with a file for each plate.

Imports `parquet`, `model`, `storage` and what those may. Knows nothing of sources.
"""
