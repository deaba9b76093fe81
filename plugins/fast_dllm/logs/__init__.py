"""Readers of what the published Fast-dLLM scripts write; one file per format."""

from __future__ import annotations

from ....core.contract.log_parser import LogParser
from .console import Console
from .summary import Summary

LOG_PARSERS: tuple[type[LogParser], ...] = (Summary, Console)
