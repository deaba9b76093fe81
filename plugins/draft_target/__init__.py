"""The plugin `draft-target`: a small model drafts, a large one verifies, in one process or over a connection."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.backend import Backend
from ...core.contract.command import Command
from ...core.contract.exporter import Exporter
from ...core.contract.finding import FindingCheck
from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from ...core.contract.sweep import Sweep
from .backend import DraftTargetBackend
from .commands import COMMANDS
from .export import EXPORTER
from .findings import FINDINGS
from .logs import LOG_PARSERS
from .sweeps import SWEEPS

decodebench_api = ">=3,<4"


@hookimpl
def decodebench_backends() -> Sequence[type[Backend]]:
    """Return the decoder."""
    return [DraftTargetBackend]


@hookimpl
def decodebench_commands() -> Sequence[Command]:
    """Return the verification server."""
    return COMMANDS


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the reader of the prototype's result files."""
    return LOG_PARSERS


@hookimpl
def decodebench_exporters() -> Sequence[Exporter]:
    """Return the writer of such files."""
    return [EXPORTER]


@hookimpl
def decodebench_findings() -> Sequence[FindingCheck]:
    """Return checks of what such files cannot be."""
    return FINDINGS


@hookimpl
def decodebench_sweeps() -> Sequence[Sweep]:
    """Return the sweep over draft lengths."""
    return SWEEPS
