"""What a plan's models become for a backend: the weight format that is meant, in a container that the backend reads.

Imports: contract, sdk. Imported by: api, measure.
"""
