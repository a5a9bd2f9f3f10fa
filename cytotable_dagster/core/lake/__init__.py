"""A folder for each plate, with its plan, chunk files and results, each made again only where something changed.

Imports every room above. Knows nothing of Dagster, which keeps its plates by it.
"""
