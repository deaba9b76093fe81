"""What plugin authors use: models and tokenizers on disk, sampling and scoring, PyTorch layers, reading of logs.

Its modules are public names (docs/promise.md).

Imports: contract, records. Imported by: api, cli, collate, conformance, measure, plugins.
"""
