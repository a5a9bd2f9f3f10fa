"""The converter: plates in, Parquet out. Knows nothing of Dagster."""
