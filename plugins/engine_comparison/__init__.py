"""The plugin `engine-comparison`: what a public workflow that compares engines measures, and makes of their logs."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from ...core.contract.sweep import Sweep
from .sweeps import SWEEPS
from .verifiers import VerifiersSweep
from .workflow_csv import WorkflowCsv

decodebench_api = ">=3,<4"


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the readers of its per-step tables and its accuracy sweeps."""
    return [WorkflowCsv, VerifiersSweep]


@hookimpl
def decodebench_sweeps() -> Sequence[Sweep]:
    """Return its design: weight formats over engines."""
    return SWEEPS
