"""The backend ``llama-cpp``: llama.cpp through the low-level functions of llama-cpp-python."""

from __future__ import annotations

from ...core.backend import Backend
from ...core.hookspecs import hookimpl
from .backend import LlamaCppBackend

decodebench_api = ">=1,<2"


@hookimpl
def decodebench_backends() -> list[type[Backend]]:
    """Return the backend."""
    return [LlamaCppBackend]
