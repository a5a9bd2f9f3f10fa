"""Stores: objects read and written in calls that end, and places for results, be they folders or prefixes.

Imports `support`. Knows nothing of what lies in a file, nor which of them are a plate.
"""
