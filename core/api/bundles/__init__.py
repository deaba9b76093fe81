"""An experiment in one file, for others: packed without names and secrets, unpacked within limits, measured again.

Imports: api, collate, host, measure, records, sdk. Imported by: cli.
"""
