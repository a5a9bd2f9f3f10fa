"""Machine code: pages of SQLite, records of CSV and footers of Parquet read by functions that numba compiles.

Imports nothing of this package. Others call `loading` alone, with the layouts that say where things are in the arrays;
`loading` takes every other module here for what the machine code is made of.
"""
