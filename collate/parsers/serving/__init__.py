"""Serving benchmarks, servers and boards whose formats are tables of fields (`core/sdk/logs/figures.py`).

Imports: collate.parsers, contract, records, sdk. Imported by: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....core.contract.hookspecs import hookimpl
from ....core.contract.log_parser import LogParser
from .console import ServingConsole
from .inference_perf import InferencePerf, InferencePerfRequests
from .inferencex import InferencexGolden
from .llama_benchy import LlamaBenchy
from .llama_benchy_table import LlamaBenchyTable
from .llmperf import LlmperfResponses, LlmperfSummary
from .ml_energy import MlEnergy
from .mtp_bench import MtpBench
from .ollama import OllamaAnswers, OllamaVerbose
from .ollama_listed import OllamaListed
from .openai_answers import OpenaiAnswers
from .sglang import SglangServe
from .spec_bench_board import SpecBenchBoard
from .spec_forge import SpecForge
from .speculation_table import SpeculationTable


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the readers of serving benchmarks, servers and boards."""
    return [
        ServingConsole, SglangServe, InferencePerf, InferencePerfRequests, LlamaBenchy, LlamaBenchyTable,
        LlmperfSummary, LlmperfResponses, OllamaAnswers, OllamaVerbose, OllamaListed, OpenaiAnswers, SpecForge,
        InferencexGolden, MlEnergy, MtpBench, SpecBenchBoard, SpeculationTable,
    ]  # fmt: skip
