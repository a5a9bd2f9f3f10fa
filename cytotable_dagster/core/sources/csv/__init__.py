"""CSV plates: CellProfiler's exports, of a plate or of each site, combined or flat, and files of one table.

Imports what `sources` may. Knows nothing of SQLite and NPZ.
"""
