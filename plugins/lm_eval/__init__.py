"""The plugin `lm-eval`: lm-evaluation-harness both ways, its tasks here and any backend as a model there."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.command import Command
from ...core.contract.hookspecs import hookimpl
from ...core.contract.task import Task
from .command import COMMANDS
from .task import LmEvalTask

decodebench_api = ">=3,<4"


@hookimpl
def decodebench_tasks() -> Sequence[type[Task]]:
    """Return the one task that stands for all of the harness."""
    return [LmEvalTask]


@hookimpl
def decodebench_commands() -> Sequence[Command]:
    """Return the harness's own command line, with every backend as a model of it."""
    return COMMANDS
