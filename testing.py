"""For the test suites of plugins: inherit ``BackendConformance`` and every rule of the contract is a test.

The same checks are the command ``decodebench plugins check``; docs/conformance.md says what each asks for, and how a
plugin adds its own with ``check``.
"""

from __future__ import annotations

from .core.conformance.check import check
from .core.conformance.outcome import Broken, NotApplicable
from .core.conformance.subject import Subject
from .core.conformance.suite import BackendConformance

__all__ = ["BackendConformance", "Broken", "NotApplicable", "Subject", "check"]
