"""The backend ``llama-cpp``: llama.cpp through the low-level functions of llama-cpp-python."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.backend import Backend
from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from .backend import LlamaCppBackend
from .logs import LOG_PARSERS

decodebench_api = ">=3,<4"


@hookimpl
def decodebench_backends() -> list[type[Backend]]:
    """Return the backend."""
    return [LlamaCppBackend]


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the readers of what the engine's own programs print."""
    return LOG_PARSERS
