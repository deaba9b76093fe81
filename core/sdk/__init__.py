"""What plugin authors use: models and tokenizers on disk, sampling and scoring, PyTorch layers, reading of logs.

Imports ``contract`` and ``records``. Plugins import it, and ``measure`` and ``collate`` do: its modules are public
names (docs/promise.md).
"""
