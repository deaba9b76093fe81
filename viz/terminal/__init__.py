"""Comparisons in the terminal: tables, bars and courses.

Imports: collate, collate.speculation, contract, records, viz.drawing. Imported by: api, cli, viz.drawing, viz.figures,
viz.report, viz.slides.
"""
