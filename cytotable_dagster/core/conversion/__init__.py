"""A request for some plates carried out: one plate, or several on their way to one table or a dataset.

Imports every room above but `lake`. Knows nothing of Dagster or the shell; `convert` and `datasets` are its doors.
"""
