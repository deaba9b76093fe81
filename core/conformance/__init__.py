"""The conformance kit: checks that hold a backend to the contract of ``core/contract/backend.py``.

Plugin authors inherit its suite as ``decodebench.testing.BackendConformance``.

Imports: contract, host, isolation, measure, records, sdk. Imported by: cli, testing.
"""
