"""Readers of what MLC-LLM and scripts around it write."""

from __future__ import annotations

from .answers import Answers
from .bench import BenchDump, BenchTable
from .engine_metrics import EngineMetrics
from .text_log import MlcTextLog

LOG_PARSERS = (Answers, EngineMetrics, BenchTable, BenchDump, MlcTextLog)
