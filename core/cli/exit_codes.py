"""How a command ended, for scripts."""

from __future__ import annotations

DONE = 0
FAILED = 1  # something measured failed
USAGE = 2  # bad usage or input
GATE = 3  # a gate tripped, or parity is broken
INTERRUPTED = 130
