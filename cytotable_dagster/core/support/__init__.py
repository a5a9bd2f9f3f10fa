"""Files that appear whole, locks, leftovers of killed processes, arrays and plain text tables: for every room.

Imports the errors and nothing else of this package. Knows nothing of plates, tables or stores.
"""
