"""The output folder: who may write to it, what it is to hold and what it holds.

Imports: host, measure, records. Imported by: api, cli, measure, measure.rounds.
"""
