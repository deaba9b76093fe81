"""Finding, loading, checking and naming plugins, and what is known of where they come from.

``collate`` is handed a registry and makes none.

Imports: contract, records. Imported by: api, cli, collate, conformance, isolation, measure.
"""
