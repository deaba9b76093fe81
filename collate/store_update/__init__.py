"""How logs get into the store: which files there are, what has to be read anew, and the reading itself.

Imports: collate.parsers, host, records. Imported by: api, collate.
"""
