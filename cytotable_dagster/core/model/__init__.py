"""The nouns: presets, names and types of columns, values of one type, what is common to the tables of many plates.

Imports `support`. Knows nothing of files of a kind: what a table lies in is the business of `sources`.
"""
