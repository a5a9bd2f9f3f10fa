"""The asset graph: plate_source -> plate_sqlite -> chunks -> compartments -> single_cells -> datasets."""
