"""The plugin `draft-target`: a small model drafts, a large one verifies, in one process or over a connection."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.backend import Backend
from ...core.command import Command
from ...core.hookspecs import hookimpl
from .backend import DraftTargetBackend
from .commands import COMMANDS

decodebench_api = ">=1,<2"


@hookimpl
def decodebench_backends() -> Sequence[type[Backend]]:
    """Return the decoder."""
    return [DraftTargetBackend]


@hookimpl
def decodebench_commands() -> Sequence[Command]:
    """Return the verification server."""
    return COMMANDS
