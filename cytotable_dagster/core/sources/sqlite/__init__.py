"""SQLite plates: pages read by compiled code, and what is out of the ordinary by SQLite itself in a copy.

Imports what `sources` may. Knows nothing of CSV and NPZ.
"""
