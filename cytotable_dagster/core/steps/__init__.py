"""The steps of a conversion: chunks to files, compartments side by side, a file of each table's chunks.

Imports `planning`, `parquet`, `execution` and what those may. Knows nothing of the places where results go.
"""
