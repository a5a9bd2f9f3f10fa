"""Runnable comparisons: how fast, how much memory. Nothing here is asserted in tests.

`python -m benchmarks` runs all of it and writes results.md; `python -m benchmarks.versus_cytotable` compares
convert() with CytoTable's on one file.
"""
