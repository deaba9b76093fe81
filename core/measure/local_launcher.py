"""The launcher that is always there: every worker is a fresh process on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from ..contract.hookspecs import hookimpl
from ..contract.launcher import Launch, Launcher, OnLine, Outcome
from .launcher import run_here


class LocalLauncher(Launcher):
    """Runs workers on this machine."""

    name = "local"
    summary = "a fresh process on this machine"
    is_here = True

    def run(self, launch: Launch, on_line: OnLine) -> Outcome:
        """Run one worker."""
        return run_here(launch, on_line)


@hookimpl
def decodebench_launchers() -> Sequence[type[Launcher]]:
    """Return it."""
    return [LocalLauncher]
