"""Readers of what the published DFlash scripts write (z-lab/dflash and AtharvRN/dflash); one file per format."""

from __future__ import annotations

from ....core.contract.log_parser import LogParser
from .console import ConsoleLog
from .cycles import CycleTrace
from .samples import SampleRows
from .summary_csv import SummaryTable

LOG_PARSERS: tuple[type[LogParser], ...] = (SampleRows, CycleTrace, ConsoleLog, SummaryTable)
