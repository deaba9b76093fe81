"""The Python API: run, open, compare, and one backend opened for requests. The command line is a thin layer on it.

Functions return data and raise ``DecodebenchError``; nothing here prints or ends the process.

Imports: collate, collate.speculation, contract, host, isolation, measure, records, sdk, viz, viz.drawing. Imported
by: cli, decodebench.
"""
