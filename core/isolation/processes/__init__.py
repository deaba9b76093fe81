"""Processes that run plugins, as their parent sees them: kept, read from and written to, ended with all they started.

Imports: contract, host, records. Imported by: api, collate, conformance, isolation, measure.
"""
