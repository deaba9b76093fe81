"""Intervals and verdicts: ratios of cells, proportions, and the noise between rounds.

Imports: measure. Imported by: api, collate.comparison, collate.exporters, collate.findings, collate.load,
collate.speculation, viz, viz.drawing.
"""
