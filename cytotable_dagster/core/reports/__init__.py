"""The account of a conversion: what was read and written, what did not fit or match, as records, text and JSON.

Imports `steps`, `planning` and what those may. Knows nothing of who shows it.
"""
