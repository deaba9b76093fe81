"""The command line: parses, calls the Python API, prints. ``main`` knows the commands by name only.

Imports: api, collate, conformance, contract, host, isolation, measure, records, sdk, viz, viz.drawing. Imported by:
__main__.
"""
