"""Worker processes as their parent sees them: kept, read from and written to, ended with all that they started.

Imports records and host. Imported by ``measure``.
"""
