"""The plugin `ray`: workers run on the nodes of a Ray cluster; see docs/scaling.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.contract.command import Command
from ...core.contract.hookspecs import hookimpl
from ...core.contract.launcher import Launcher
from .launcher import RayLauncher

if TYPE_CHECKING:
    import click

decodebench_api = ">=3,<4"


@hookimpl
def decodebench_launchers() -> Sequence[type[Launcher]]:
    """Return it."""
    return [RayLauncher]


@hookimpl
def decodebench_commands() -> Sequence[Command]:
    """Return what a node is started with."""
    return [Command("ray-resources", "Print this machine's devices and engines for `ray start --resources`.", _load)]


def _load() -> click.Command:
    from .resources_command import ray_resources

    return ray_resources
