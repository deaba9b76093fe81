"""Readers of what the published DFlash scripts write (z-lab/dflash and AtharvRN/dflash); one file per format."""

from __future__ import annotations

from ....core.contract.log_parser import LogParser
from .client_console import ClientConsole
from .console import ConsoleLog
from .cycles import CycleTrace
from .mlx_results import MlxResults
from .samples import SampleRows
from .summary_csv import SummaryTable
from .torch_console import TorchConsole

LOG_PARSERS: tuple[type[LogParser], ...] = (
    SampleRows,
    CycleTrace,
    ConsoleLog,
    TorchConsole,
    ClientConsole,
    SummaryTable,
    MlxResults,
)
