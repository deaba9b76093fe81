"""Every hook that a plugin may implement. All are optional and return sequences.

A plugin is a module (or object) with functions marked ``@decodebench.hookimpl``, named by an entry point of the
group ``decodebench``. The host calls a hook when a command first needs what it provides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from .analysis import Analysis
    from .backend import Backend
    from .command import Command
    from .exporter import Exporter
    from .figure import Figure
    from .finding import FindingCheck
    from .launcher import Launcher
    from .log_parser import LogParser
    from .model_source import ModelSource
    from .sweep import Sweep
    from .task import Task

PROJECT = "decodebench"
API_VERSION = "3.0"
"""Version of this contract; a plugin may state ``decodebench_api = ">=3,<4"`` at module level."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def decodebench_backends() -> Sequence[type[Backend]]:  # type: ignore[empty-body]
    """Return backend classes. Their module must import without the engine."""


@hookspec
def decodebench_models() -> Sequence[ModelSource]:  # type: ignore[empty-body]
    """Return named models, such as ``tiny:target``; paths and Hub ids need no hook."""


@hookspec
def decodebench_tasks() -> Sequence[type[Task]]:  # type: ignore[empty-body]
    """Return task classes."""


@hookspec
def decodebench_figures() -> Sequence[Figure]:  # type: ignore[empty-body]
    """Return figures that ``plot`` can draw from the store."""


@hookspec
def decodebench_log_parsers() -> Sequence[type[LogParser]]:  # type: ignore[empty-body]
    """Return log parsers, with which ``collate --import`` reads logs of other tools."""


@hookspec
def decodebench_exporters() -> Sequence[Exporter]:  # type: ignore[empty-body]
    """Return formats that ``export --format`` can write the store in."""


@hookspec
def decodebench_sweeps() -> Sequence[Sweep]:  # type: ignore[empty-body]
    """Return presets of ``decodebench sweep``: a matrix under a name."""


@hookspec
def decodebench_findings() -> Sequence[FindingCheck]:  # type: ignore[empty-body]
    """Return checks that report problems of an experiment, such as an option that cannot have an effect."""


@hookspec
def decodebench_analyses() -> Sequence[Analysis]:  # type: ignore[empty-body]
    """Return sections of ``decodebench speculation`` about what only one decoder records of its verify cycles."""


@hookspec
def decodebench_commands() -> Sequence[Command]:  # type: ignore[empty-body]
    """Return sub-commands of ``decodebench``."""


@hookspec
def decodebench_launchers() -> Sequence[type[Launcher]]:  # type: ignore[empty-body]
    """Return launcher classes, which run workers on this machine or elsewhere."""
