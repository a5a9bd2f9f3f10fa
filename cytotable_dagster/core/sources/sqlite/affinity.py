"""What SQLite makes of a declared type."""

from functools import cache


@cache
def affinity(declared: str) -> str:
    """The affinity of a declared type: https://sqlite.org/datatype3.html#determination_of_column_affinity."""
    upper = declared.upper()
    if "INT" in upper:
        return "INTEGER"
    if any(word in upper for word in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if not upper or "BLOB" in upper:
        return "BLOB"
    if any(word in upper for word in ("REAL", "FLOA", "DOUB")):
        return "REAL"
    return "NUMERIC"
