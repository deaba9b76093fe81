"""The plugin `transformers`: Hugging Face models in PyTorch, decoded by a loop of our own."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.backend import Backend
from ...core.contract.hookspecs import hookimpl
from .backend import TransformersBackend

decodebench_api = ">=3,<4"


@hookimpl
def decodebench_backends() -> Sequence[type[Backend]]:
    """Return the autoregressive baseline."""
    return [TransformersBackend]
