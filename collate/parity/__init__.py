"""Whether two cells produce the same text, and how far their distributions lie apart where they do not.

Imports: collate, collate.comparison, collate.findings, collate.parsers, isolation, measure, records. Imported by:
api, cli, collate.comparison, collate.findings, collate.speculation, viz.
"""
