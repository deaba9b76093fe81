"""The conformance kit: checks that hold a backend to the contract of ``core/backend.py``, for its author to inherit."""
