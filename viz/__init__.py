"""What is shown: terminal tables, figures and the page. Reads comparisons and the store only; it never measures.

Imports: collate, collate.speculation, contract, records. Imported by: api, cli, plugins.
"""
