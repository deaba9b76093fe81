"""The plugin `dflash`: block-diffusion speculative decoding in PyTorch, its logs and its sweeps."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.analysis import Analysis
from ...core.contract.backend import Backend
from ...core.contract.exporter import Exporter
from ...core.contract.figure import Figure
from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from ...core.contract.sweep import Sweep
from .analysis import ANALYSES
from .analysis.candidate_counts import FIGURE
from .backend import DFlashBackend
from .export import EXPORTER
from .logs import LOG_PARSERS
from .sweeps import SWEEPS

decodebench_api = ">=3,<4"


@hookimpl
def decodebench_backends() -> Sequence[type[Backend]]:
    """Return the laboratory of block-diffusion speculative decoding."""
    return [DFlashBackend]


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return readers of what the published scripts write."""
    return LOG_PARSERS


@hookimpl
def decodebench_exporters() -> Sequence[Exporter]:
    """Return the writer of the published formats."""
    return [EXPORTER]


@hookimpl
def decodebench_figures() -> Sequence[Figure]:
    """Return the figure of candidate blocks."""
    return [FIGURE]


@hookimpl
def decodebench_sweeps() -> Sequence[Sweep]:
    """Return the published designs."""
    return SWEEPS


@hookimpl
def decodebench_analyses() -> Sequence[Analysis]:
    """Return what the traces of its cycles tell beyond those of other decoders."""
    return ANALYSES
