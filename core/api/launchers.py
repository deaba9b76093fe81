"""What launchers of plugins call on the machine that they have reached."""

from __future__ import annotations

from ..measure.launcher import run_here as run_here
from ..measure.machine.environment import capture
from ..records.schema import Environment


def environment_here() -> Environment:
    """Describe this machine with its memory bandwidth and matrix rate, which are measured once per host (2 s)."""
    return capture(anonymise=False)
