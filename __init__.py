"""decodebench: compare LLM inference backends and decoders through plugins.

The names below are what users and plugin authors import; everything else is internal.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.api.backends import OpenBackend, find_model, open_backend
    from .core.api.comparison import Comparison
    from .core.api.experiment import Experiment, WhenBusy, run
    from .core.api.launchers import environment_here, run_here
    from .core.api.plugins import user_table
    from .core.api.results import Results, compare, open
    from .core.api.table import Table
    from .core.cache import ModelCache
    from .core.contract.analysis import Analysis, AnalysisTable, Section
    from .core.contract.backend import Backend
    from .core.contract.command import Command
    from .core.contract.exporter import Exporter
    from .core.contract.figure import Figure
    from .core.contract.finding import Doubt, FindingCheck
    from .core.contract.generation import Generated, Request, Scores, Step
    from .core.contract.hookspecs import API_VERSION, hookimpl
    from .core.contract.launcher import Launch, Launcher, Outcome, Place
    from .core.contract.log_parser import LogParser
    from .core.contract.model import ModelFacts, PreparedModel, Quantisation, ResolvedModel
    from .core.contract.model_source import ModelSource
    from .core.contract.options import BackendOptions
    from .core.contract.preflight import PlannedCell, Preflight
    from .core.contract.requirements import Availability, Requires
    from .core.contract.residence import RunningServer
    from .core.contract.stream import RequestSource
    from .core.contract.sweep import Sweep, SweepCells
    from .core.contract.task import Likelihood, Score, Task, TaskSample
    from .core.errors import (
        BackendError,
        BusyError,
        DecodebenchError,
        ModelError,
        OutOfMemoryError,
        PluginError,
        SampleError,
        UsageError,
        unknown_name,
    )
    from .core.files import write_whole
    from .core.foreign_text import csv_cell, own_path_part, printable
    from .core.records.engine_counters import EngineCounters

_HOME = {
    "api.backends": "OpenBackend find_model open_backend",
    "api.comparison": "Comparison",
    "api.experiment": "Experiment WhenBusy run",
    "api.launchers": "environment_here run_here",
    "api.plugins": "user_table",
    "api.results": "Results compare open",
    "api.table": "Table",
    "contract.analysis": "Analysis AnalysisTable Section",
    "contract.backend": "Backend",
    "contract.generation": "Generated Request Scores Step",
    "contract.model": "ModelFacts PreparedModel Quantisation ResolvedModel",
    "cache": "ModelCache",
    "contract.command": "Command",
    "records.engine_counters": "EngineCounters",
    "errors": (
        "BackendError BusyError DecodebenchError ModelError OutOfMemoryError PluginError SampleError UsageError "
        "unknown_name"
    ),
    "files": "write_whole",
    "foreign_text": "csv_cell own_path_part printable",
    "contract.exporter": "Exporter",
    "contract.figure": "Figure",
    "contract.finding": "Doubt FindingCheck",
    "contract.hookspecs": "API_VERSION hookimpl",
    "contract.launcher": "Launch Launcher Outcome Place",
    "contract.log_parser": "LogParser",
    "contract.model_source": "ModelSource",
    "contract.options": "BackendOptions",
    "contract.preflight": "PlannedCell Preflight",
    "contract.requirements": "Availability Requires",
    "contract.residence": "RunningServer",
    "contract.stream": "RequestSource",
    "contract.sweep": "Sweep SweepCells",
    "contract.task": "Likelihood Score Task TaskSample",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = [
    "API_VERSION",
    "Analysis",
    "AnalysisTable",
    "Availability",
    "Backend",
    "BackendError",
    "BackendOptions",
    "BusyError",
    "Command",
    "Comparison",
    "DecodebenchError",
    "Doubt",
    "EngineCounters",
    "Experiment",
    "Exporter",
    "Figure",
    "FindingCheck",
    "Generated",
    "Launch",
    "Launcher",
    "Likelihood",
    "LogParser",
    "ModelCache",
    "ModelError",
    "ModelFacts",
    "ModelSource",
    "OpenBackend",
    "OutOfMemoryError",
    "Outcome",
    "Place",
    "PlannedCell",
    "PluginError",
    "Preflight",
    "PreparedModel",
    "Quantisation",
    "Request",
    "Requires",
    "RequestSource",
    "ResolvedModel",
    "Results",
    "RunningServer",
    "SampleError",
    "Score",
    "Scores",
    "Section",
    "Step",
    "Sweep",
    "SweepCells",
    "Table",
    "Task",
    "TaskSample",
    "UsageError",
    "WhenBusy",
    "compare",
    "csv_cell",
    "environment_here",
    "find_model",
    "hookimpl",
    "open",
    "open_backend",
    "own_path_part",
    "printable",
    "run",
    "run_here",
    "unknown_name",
    "user_table",
    "write_whole",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type checker sees the imports above
    """Import a public name on first use: ``--help`` pays for none of them."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".core.{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
