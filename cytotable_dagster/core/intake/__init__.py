"""How plates get here: found below a path or an address, watched for, downloaded once, verified and kept in the cache.

Imports `sources`, `storage` and what those may. Knows nothing of how a plate is converted.
"""
