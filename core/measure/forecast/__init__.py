"""How long a run takes: what is left of one that goes on, and what one would take.

Imports: isolation, measure. Imported by: api, cli, measure.
"""
