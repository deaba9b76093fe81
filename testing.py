"""For the test suites of plugins: inherit ``BackendConformance`` and every rule of the contract is a test.

The same checks are the command ``decodebench plugins check``; docs/conformance.md says what each asks for.
"""

from __future__ import annotations

from .core.conformance.suite import BackendConformance

__all__ = ["BackendConformance"]
