"""Cells of the store compared with a baseline: what was observed, what is comparable, and the result as records.

Imports: collate.findings, collate.load, collate.parity, collate.statistics, contract, records, sdk. Imported by:
api, cli, collate.findings, collate.load, collate.parity, collate.speculation, viz, viz.drawing.
"""
