"""Engines under load: throughput and latency over the number of requests in flight, or over their rate.

Imports: collate.comparison, collate.statistics, records. Imported by: collate.comparison, collate.findings, viz,
viz.drawing.
"""
