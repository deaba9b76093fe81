"""From raw logs to the store, and from the store to comparisons. It is handed a registry and makes none.

Imports: contract, host, isolation, measure, records, sdk. Imported by: api, cli, plugins, viz, viz.drawing.
"""
