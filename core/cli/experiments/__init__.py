"""Commands about experiments that were measured: what is done of them, new names, bundles for others.

Imports what ``cli`` may; found by name in ``cli/main.py``.
"""
