"""Backends in an interpreter of their own: which they are, how they are asked, and the environments made for them.

Imports ``host``, ``contract`` and ``records``. ``measure``, ``api`` and ``cli`` import it.
"""
