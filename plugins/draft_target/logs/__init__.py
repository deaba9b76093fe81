"""Readers of what public draft/target prototypes wrote."""

from __future__ import annotations

from .gsm8k_benchmark import Gsm8kBenchmark

LOG_PARSERS = (Gsm8kBenchmark,)
