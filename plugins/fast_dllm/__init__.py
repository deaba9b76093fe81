"""The plugin `fast-dllm`: parallel decoding of diffusion language models in PyTorch, its logs and its sweeps."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.backend import Backend
from ...core.hookspecs import hookimpl
from .backend import FastDllmBackend

decodebench_api = ">=1,<2"


@hookimpl
def decodebench_backends() -> Sequence[type[Backend]]:
    """Return the decoder of diffusion models."""
    return [FastDllmBackend]
