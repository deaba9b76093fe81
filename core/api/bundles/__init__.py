"""An experiment in one file, for others: packed without names and secrets, unpacked within limits, measured again.

Imports what ``api`` may; imported by ``cli``.
"""
