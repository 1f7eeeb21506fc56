"""The tables that a run leaves, as Parquet files."""
