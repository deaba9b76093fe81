"""The block that `vllm bench serve` and SGLang's `bench_serving` print at their end.

::

    ============ Serving Benchmark Result ============
    Successful requests:                     996
    Benchmark duration (s):                  264.25
    Total generated tokens:                  218257
    Mean TTFT (ms):                          2074.09
    Acceptance length:                       2.86

Each block is a run without samples. Until March 2024 vLLM's had no such first line, and its units stood behind the
values (`Benchmark duration: 29.521190 s`). Labels as in vllm-project/vllm, `vllm/benchmarks/serve.py` (009e6d4), and
sgl-project/sglang, `python/sglang/bench_serving.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ....core.records.schema import Run
from ....core.sdk.logs.figures import Figure, form, gather
from ....core.sdk.logs.formats import BlockFormat
from ....core.sdk.logs.pages import Block, Labels, blocks, model_above
from ....core.sdk.logs.runs import UNKNOWN
from ....core.sdk.logs.structure import text_of

_DURATION = "Benchmark duration (s)"
_FIGURES = form(
    Figure("Backend", "run.backend", "text"),
    Figure("Traffic request rate", "option.request_rate", "any"),
    Figure("Request rate configured (RPS)", "option.request_rate", "any"),
    Figure("Max request concurrency", "option.max_concurrency", "any"),
    Figure("Max reqeuest concurrency", "option.max_concurrency", "any"),  # so SGLang spelt it for some months
    Figure("Maximum request concurrency", "option.max_concurrency", "any"),
    Figure("Successful requests", "totals.samples", "count"),
    Figure("Failed requests", "condition.failed", "count"),
    Figure(_DURATION, "totals.wall_s", "s"),
    Figure("Total input tokens", "totals.prompt_tokens", "count"),
    Figure("Total generated tokens", "totals.output_tokens", "count"),
    Figure("Output token throughput (tok/s)", "totals.tokens_per_s"),
    Figure("Drafts", "totals.cycles", "count"),
    Figure("Draft tokens", "totals.drafted", "count"),
    Figure("Accepted tokens", "totals.accepted", "count"),
    Figure("Acceptance rate (%)", "published.acceptance_rate_percent"),
    Figure("Acceptance length", "published.acceptance_length"),
    Figure("Accept length", "published.acceptance_length"),
    *(
        Figure(f"{statistic} {label} (ms)", f"published.{statistic.lower()}_{name}_ms")
        for label, name in (
            ("TTFT", "ttft"),
            ("TPOT", "tpot"),
            ("ITL", "itl"),
            ("E2EL", "e2el"),
            ("E2E Latency", "e2el"),
        )
        for statistic in ("Mean", "Median", "P99")
    ),
)
_UNIT = re.compile(r" \((?:s|ms|tok/s|req/s)\)$")
_OF_2024 = {_UNIT.sub("", name): name for name in _FIGURES if _UNIT.search(name)}
_FAMILY = "|".join(
    (
        *(
            rf"{statistic} [A-Z][A-Za-z0-9 ]{{1,20}} \(ms\)"
            for statistic in ("Mean", "Median", "Max", "Min", "Std", r"P\d{1,2}(?:\.\d)?")
        ),
        r"Position \d{1,3}",
        "Concurrency",
        "Peak concurrent requests",
        *(rf"{word}[A-Za-z ]{{1,40}}(?: \([\w/]{{1,12}}\))?" for word in ("Total", "Input", "Peak", "Request")),
    )
)

_LABELS_OF_2024 = Labels((*_OF_2024, *(name for name in _FIGURES if name not in _OF_2024.values())), _FAMILY)


class ServingConsole(BlockFormat):
    """Reads one run per block."""

    name = "serving-console"
    summary = "what `vllm bench serve` and SGLang's bench_serving print"
    version = "2"
    words = ("Benchmark duration",)
    figures = _FIGURES
    family = _FAMILY
    needs = _DURATION
    marker = "Serving Benchmark Result"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a block with its duration, but not in the texts of a JSON file."""
        return super().matches(path, head) and not text_of(path).lstrip().startswith("{")

    def pieces(self, lines: Sequence[str]) -> Iterator[Block]:
        """Yield the blocks of today, then those of 2024 with the labels of today."""
        yield from super().pieces(lines)
        is_old = any("Benchmark duration:" in line for line in lines)
        for block in blocks(lines, _LABELS_OF_2024, "Benchmark duration") if is_old else ():
            found = {_OF_2024[name]: text.partition(" ")[0] for name, text in block.found.items() if name in _OF_2024}
            yield replace(block, found={**block.found, **found})

    def records(self, run_id: str, piece: Block, where: Mapping[str, str | int]) -> Iterator[Run]:
        """Yield the run of a block."""
        gathered = gather(_FIGURES, piece.found)
        failed = gathered.condition.pop("failed", None)
        done = gathered.totals.get("samples")
        notes = ["there are sums and means alone: speeds are those of all requests side by side"]
        model = model_above(piece.above)
        if model:
            notes.append("the model is that of the command printed above")
        if not gathered.run:
            notes.append("the block names no engine")
        if failed:
            notes.append(f"{failed} requests failed")
        yield gathered.as_run(
            run_id,
            UNKNOWN,
            model=model or UNKNOWN,
            samples=done + failed if isinstance(failed, int) and done is not None else None,
            conditions=where,
            source_line=piece.line,
            failure="no request succeeded" if done == 0 else None,
            notes=tuple(notes),
        )
