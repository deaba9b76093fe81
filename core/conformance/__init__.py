"""The conformance kit: checks that hold a backend to the contract of ``core/contract/backend.py``.

Imports ``measure`` and what that imports. ``api`` and ``cli`` import it; plugin authors inherit its suite as
``decodebench.testing.BackendConformance``.
"""
