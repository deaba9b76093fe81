"""The backend ``mlc``: machine-learning compilation, by MLC-LLM itself or by Apache TVM with our own CPU schedule."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.backend import Backend
from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from .backend import MlcBackend
from .logs import LOG_PARSERS

decodebench_api = ">=3,<4"


@hookimpl
def decodebench_backends() -> list[type[Backend]]:
    """Return the backend."""
    return [MlcBackend]


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the readers of what the engine and scripts around it write."""
    return LOG_PARSERS
