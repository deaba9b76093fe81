"""What is stored: the schema of records, the workload, metrics, the raw log and the store.

Its modules are public names (docs/promise.md).

Imports: nothing. Imported by: api, cli, collate, collate.speculation, conformance, contract, decodebench, host,
isolation, measure, plugins, sdk, viz, viz.drawing.
"""
