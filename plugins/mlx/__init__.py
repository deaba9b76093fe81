"""The plugin `mlx`: Apple's MLX by way of mlx-lm's own generation loop."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.backend import Backend
from ...core.contract.hookspecs import hookimpl
from .backend import MlxBackend

decodebench_api = ">=2,<3"


@hookimpl
def decodebench_backends() -> Sequence[type[Backend]]:
    """Return the engine of Macs, which runs on other processors and on CUDA too."""
    return [MlxBackend]
