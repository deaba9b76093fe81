"""Readers of what llama.cpp's own programs print."""

from __future__ import annotations

from .batched_bench import BatchedBench
from .cli_footer import CliFooter
from .console import Console
from .llama_bench import LlamaBench
from .server_timings import ServerTimings

LOG_PARSERS = (LlamaBench, BatchedBench, ServerTimings, Console, CliFooter)
