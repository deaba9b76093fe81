"""From a plan to raw logs: cells, prompts, rounds, the worker process and its timed loop, and the machine they ran on.

Imports: contract, host, isolation, records, sdk. Imported by: api, cli, collate, conformance.
"""
