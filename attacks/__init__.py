"""Attacks on the converter, seeded and bounded: mutated files, kills, faults of a store. `make attack` runs them.

An attack is a module with `Attack`'s function: it makes its own files in an empty folder, works on them, and compares
what comes of it with an oracle (SQLite, Python's csv, NumPy, an undisturbed run). It never catches what it does not
expect: the runner tells crashes, hangs and raw exceptions apart from outside.
"""
