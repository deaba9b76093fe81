"""The plugin `tinygrad`: models in tinygrad, decoded by a loop of our own over its captured kernels."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.backend import Backend
from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from .backend import TinygradBackend
from .text_log import TinygradTextLog

decodebench_api = ">=3,<4"


@hookimpl
def decodebench_backends() -> Sequence[type[Backend]]:
    """Return the backend."""
    return [TinygradBackend]


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the reader of the engine's text log."""
    return [TinygradTextLog]
