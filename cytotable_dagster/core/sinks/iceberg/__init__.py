"""A warehouse of Iceberg tables: a folder with a catalog in SQLite, of which each plate is one snapshot.

`catalog` opens it, `rows` gives a plate's rows their identifiers, `tables` puts plates into tables and takes them out,
`reading` is for who reads, `sink` for `convert`.
"""
