"""Plates as they are found: which files are theirs, which tables these hold, and rows of them as Arrow batches.

Imports `kernels`, `model`, `storage` and what those may. A folder for each kind of source; nothing outside asks which
one a plate is of. Knows nothing of chunks, joins or results.
"""
