"""What helps to find a command and its settings: help under headings, completion, the user's config file.

Imports: api, cli, contract, host, records. Imported by: cli, cli.experiments, cli.plugins.
"""
