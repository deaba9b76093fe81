"""Processes that run plugins, as their parent sees them: kept, read from and written to, ended with all they started.

Imports records and host. Imported by the rest of ``isolation`` and by ``measure``.
"""
