"""What is stored: the schema of records, the workload, metrics, the raw log and the store.

Imports nothing else of core. Every room imports it, and so do plugins: its modules are public names (docs/promise.md).
"""
