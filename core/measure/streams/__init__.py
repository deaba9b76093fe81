"""Requests that arrive while others run: when they are due, who gets them, and the timed loop over their answers.

Imports what ``measure`` does; imported by ``measure`` and ``conformance``.
"""
