"""Reading other programs' files: text, JSON and checked values out of both, with errors that name file, line, field.

Imports: contract, records. Imported by: collate, measure, plugins.
"""
