"""The plugin ``vllm``: vLLM in process, without its server. It lives in an interpreter of its own (docs/servers.md)."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.backend import Backend
from ...core.contract.hookspecs import hookimpl
from .backend import VllmOfflineBackend

decodebench_api = ">=3,<4"


@hookimpl
def decodebench_backends() -> Sequence[type[Backend]]:
    """Return the engine without its server."""
    return [VllmOfflineBackend]
