"""The plan of a conversion: one look through a plate decides tables, types, links, order, TableNumbers and chunks.

Imports `sources`, `model` and what those may. Knows nothing of how rows are written.
"""
