"""What this installation has: the machine, what plugins provide, prepared models.

Imports: api, collate, contract, host, isolation, measure, records. Imported by: cli.
"""
