"""Readers of what mlx-lm's own programs print."""

from __future__ import annotations

from .benchmark import MlxBenchmark
from .generate import MlxGenerate

LOG_PARSERS = (MlxGenerate, MlxBenchmark)
