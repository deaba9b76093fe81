"""Engines in servers: bringing one up for a job, and keeping it from one round to the next.

Imports what ``measure`` does; imported by ``measure`` and ``conformance``.
"""
