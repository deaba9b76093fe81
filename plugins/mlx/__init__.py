"""The plugin `mlx`: Apple's MLX by way of mlx-lm's own generation loop."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.backend import Backend
from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from .backend import MlxBackend
from .logs import LOG_PARSERS

decodebench_api = ">=3,<4"


@hookimpl
def decodebench_backends() -> Sequence[type[Backend]]:
    """Return the engine of Macs, which runs on other processors and on CUDA too."""
    return [MlxBackend]


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the readers of what mlx-lm's own programs print."""
    return LOG_PARSERS
