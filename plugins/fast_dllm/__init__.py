"""The plugin `fast-dllm`: parallel decoding of diffusion language models in PyTorch, its logs and its sweeps."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.backend import Backend
from ...core.contract.exporter import Exporter
from ...core.contract.figure import Figure
from ...core.contract.finding import FindingCheck
from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from ...core.contract.sweep import Sweep
from .backend import FastDllmBackend
from .export_summary import EXPORTER as SUMMARY_EXPORTER
from .export_sweep import EXPORTER as SWEEP_EXPORTER
from .findings import FINDINGS
from .logs import LOG_PARSERS
from .sweeps import SWEEPS

decodebench_api = ">=3,<4"


@hookimpl
def decodebench_backends() -> Sequence[type[Backend]]:
    """Return the decoder of diffusion models."""
    return [FastDllmBackend]


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return readers of what the published scripts write."""
    return LOG_PARSERS


@hookimpl
def decodebench_findings() -> Sequence[FindingCheck]:
    """Return checks of what the published layer reuse can show."""
    return FINDINGS


@hookimpl
def decodebench_exporters() -> Sequence[Exporter]:
    """Return the writers of the published summary and of sweep tables."""
    return [SUMMARY_EXPORTER, SWEEP_EXPORTER]


@hookimpl
def decodebench_figures() -> Sequence[Figure]:
    """Return the figures of its sweeps."""
    from .figures import BLOCKS, STEPS

    return [BLOCKS, STEPS]


@hookimpl
def decodebench_sweeps() -> Sequence[Sweep]:
    """Return the published two-stage design."""
    return SWEEPS
