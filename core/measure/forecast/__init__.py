"""How long a run takes: what is left of one that goes on, and what one would take.

Imports records, host and ``measure``. Imported by ``measure``, ``api`` and ``cli``.
"""
