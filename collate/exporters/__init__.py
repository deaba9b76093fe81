"""The store in files: CSV, Parquet, JSON and other tools' formats; a plugin each."""
