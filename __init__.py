"""decodebench: compare LLM inference backends and decoders through plugins.

The names below are what users and plugin authors import; everything else is internal.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.backend import (
        Availability,
        Backend,
        BackendOptions,
        ModelFacts,
        PreparedModel,
        Quantisation,
        Request,
        ResolvedModel,
        Scores,
        Step,
    )
    from .core.cache import ModelCache
    from .core.errors import (
        BackendError,
        DecodebenchError,
        ModelError,
        OutOfMemoryError,
        PluginError,
        UsageError,
    )
    from .core.exporter import Exporter
    from .core.figure import Figure
    from .core.hookspecs import API_VERSION, hookimpl
    from .core.logparser import LogParser
    from .core.models import ModelSource
    from .core.sweep import Sweep, SweepCells
    from .core.tasks import Likelihood, Score, Task, TaskSample

_HOME = {
    "backend": (
        "Availability Backend BackendOptions ModelFacts PreparedModel Quantisation Request ResolvedModel Scores Step"
    ),
    "cache": "ModelCache",
    "errors": "BackendError DecodebenchError ModelError OutOfMemoryError PluginError UsageError",
    "exporter": "Exporter",
    "figure": "Figure",
    "hookspecs": "API_VERSION hookimpl",
    "logparser": "LogParser",
    "models": "ModelSource",
    "sweep": "Sweep SweepCells",
    "tasks": "Likelihood Score Task TaskSample",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = [
    "API_VERSION",
    "Availability",
    "Backend",
    "BackendError",
    "BackendOptions",
    "DecodebenchError",
    "Exporter",
    "Figure",
    "Likelihood",
    "LogParser",
    "ModelCache",
    "ModelError",
    "ModelFacts",
    "ModelSource",
    "OutOfMemoryError",
    "PluginError",
    "PreparedModel",
    "Quantisation",
    "Request",
    "ResolvedModel",
    "Score",
    "Scores",
    "Step",
    "Sweep",
    "SweepCells",
    "Task",
    "TaskSample",
    "UsageError",
    "hookimpl",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type checker sees the imports above
    """Import a public name on first use: ``--help`` pays for none of them."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".core.{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
