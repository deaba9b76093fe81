"""Servers that answer over HTTP: running ones (``openai``), and ``vllm``, ``llama-server``, ``mlx-server``, which are
started for a round.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.backend import Backend
from ...core.contract.hookspecs import hookimpl
from .backend import OpenAIBackend

decodebench_api = ">=3,<4"


@hookimpl
def decodebench_backends() -> Sequence[type[Backend]]:
    """Return the client, and the servers that are known well enough to be started."""
    return [OpenAIBackend]
