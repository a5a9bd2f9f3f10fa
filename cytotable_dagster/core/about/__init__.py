"""What tells about the tables of a destination: the map of their columns.

Every output column with the source column it comes from and its range, kept in `_about/columns.parquet` and `.csv`.
`columns` makes the map, `statistics` looks into the tables without reading them whole, `trace` asks the map.
"""
