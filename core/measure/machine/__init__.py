"""The machine of a measurement: what it is, how fast at best, and what else keeps it busy.

The GPU is in ``device_monitor``; ``waiting`` decides what is done about a busy machine, ``threads`` how many threads
engines get on it.

Imports: host, records, sdk. Imported by: api, cli, conformance, measure, measure.rounds, measure.servers.
"""
