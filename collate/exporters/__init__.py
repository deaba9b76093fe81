"""The store in files: CSV, Parquet, JSON and other tools' formats; a plugin each.

Imports: collate.statistics, contract, records. Imported by: api.
"""
