"""One file per log format; each is a plugin but our own format's.

Imports: contract, host, records, sdk. Imported by: api, cli, collate, collate.findings, collate.parity,
collate.store_update.
"""
