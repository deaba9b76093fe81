"""How a command ended, for scripts."""

from __future__ import annotations

DONE = 0
FAILED = 1  # something measured failed, or could not be measured, read or written now
USAGE = 2  # bad usage or input
GATE = 3  # a gate tripped, or parity is broken
INTERRUPTED = 130

KEY = "decodebench.exit_code"  # in click's ``Context.meta``: how a command ends that returns no other code
