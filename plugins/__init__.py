"""Built-in plugins, a folder each, found by entry point exactly as a third party's. None imports another.

Imports: collate.speculation, contract, decodebench, records, sdk, viz.drawing. Imported by: nothing.
"""
