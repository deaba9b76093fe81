"""The backend ``mlc``: machine-learning compilation, by MLC-LLM itself or by Apache TVM with our own CPU schedule."""

from __future__ import annotations

from ...core.backend import Backend
from ...core.hookspecs import hookimpl
from .backend import MlcBackend

decodebench_api = ">=1,<2"


@hookimpl
def decodebench_backends() -> list[type[Backend]]:
    """Return the backend."""
    return [MlcBackend]
