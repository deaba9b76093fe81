"""What launchers of plugins call on the machine that they have reached."""

from __future__ import annotations

from ..measure.launcher import run_here as run_here
