"""Rounds while they are measured: each alone; several in turn, a batch each, the others stopped; or on several hosts.

Imports: contract, host, isolation, measure, measure.machine, measure.output, records, sdk. Imported by: api, cli,
collate, conformance, measure, measure.servers.
"""
