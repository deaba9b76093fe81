"""A launcher that ends decodebench where it would launch the first worker."""

from __future__ import annotations

import os
from collections.abc import Sequence

from decodebench import Launch, Launcher, Outcome, hookimpl
from decodebench.core.contract.launcher import OnLine


class FirstLaunch(Launcher):
    name = "first-launch"
    summary = "ends decodebench before the first worker"
    is_here = True

    def run(self, launch: Launch, on_line: OnLine) -> Outcome:
        os._exit(0)


@hookimpl
def decodebench_launchers() -> Sequence[type[Launcher]]:
    return [FirstLaunch]
