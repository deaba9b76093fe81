"""Backends in an interpreter of their own: which they are, how they are asked, and the environments made for them.

Imports: contract, host, records. Imported by: api, cli, collate, conformance, measure.
"""
