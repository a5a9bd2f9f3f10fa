"""NPZ plates of DeepProfiler: arrays and metadata of one site in each file, read without running a pickle.

Imports what `sources` may. Knows nothing of SQLite and CSV.
"""
