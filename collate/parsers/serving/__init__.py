"""Serving benchmarks and servers whose formats are tables of fields (`core/sdk/logs/figures.py`): a file per tool."""

from __future__ import annotations

from collections.abc import Sequence

from ....core.contract.hookspecs import hookimpl
from ....core.contract.log_parser import LogParser
from .console import ServingConsole
from .inference_perf import InferencePerf, InferencePerfRequests
from .inferencex import InferencexGolden
from .llama_benchy import LlamaBenchy
from .llmperf import LlmperfResponses, LlmperfSummary
from .ollama import OllamaAnswers, OllamaVerbose
from .ollama_listed import OllamaListed
from .openai_answers import OpenaiAnswers
from .sglang import SglangServe
from .spec_forge import SpecForge


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the readers of serving benchmarks."""
    return [
        ServingConsole, SglangServe, InferencePerf, InferencePerfRequests, LlamaBenchy, LlmperfSummary,
        LlmperfResponses, OllamaAnswers, OllamaVerbose, OllamaListed, OpenaiAnswers, SpecForge, InferencexGolden,
    ]  # fmt: skip
