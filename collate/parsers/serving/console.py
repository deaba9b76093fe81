"""The block that `vllm bench serve` and SGLang's `bench_serving` print at their end.

::

    ============ Serving Benchmark Result ============
    Successful requests:                     996
    Benchmark duration (s):                  264.25
    Total generated tokens:                  218257
    Mean TTFT (ms):                          2074.09
    Acceptance length:                       2.86

Each block is a run without samples. Labels as in vllm-project/vllm, `vllm/benchmarks/serve.py` (009e6d4), and
sgl-project/sglang, `python/sglang/bench_serving.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Run
from ....core.sdk.logs.figures import Figure, form, gather
from ....core.sdk.logs.pages import Block, Labels, blocks, model_above, place_of
from ....core.sdk.logs.runs import UNKNOWN, digest_of
from ....core.sdk.logs.structure import page_of, text_of
from ....core.sdk.logs.text import malformed

_MARKER = "Serving Benchmark Result"
_NEEDED = "Benchmark duration (s)"
_FIGURES = form(
    Figure("Backend", "run.backend", "text"),
    Figure("Traffic request rate", "option.request_rate", "any"),
    Figure("Request rate configured (RPS)", "option.request_rate", "any"),
    Figure("Max request concurrency", "option.max_concurrency", "any"),
    Figure("Max reqeuest concurrency", "option.max_concurrency", "any"),  # so SGLang spelt it for some months
    Figure("Maximum request concurrency", "option.max_concurrency", "any"),
    Figure("Successful requests", "totals.samples", "count"),
    Figure("Failed requests", "condition.failed", "count"),
    Figure(_NEEDED, "totals.wall_s", "s"),
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
_FAMILY = (
    r"(?:Mean|Median|Max|Min|Std|P\d{1,2}(?:\.\d)?) [A-Z][A-Za-z0-9 ]{1,20} \(ms\)|Position \d{1,3}|Concurrency|"
    r"Peak concurrent requests|(?:Total|Input|Peak|Request)[A-Za-z ]{1,40}(?: \([\w/]{1,12}\))?"
)
_LABELS = Labels(_FIGURES, _FAMILY)


class ServingConsole(LogParser):
    """Reads one run per block."""

    name: ClassVar[str] = "serving-console"
    summary: ClassVar[str] = "what `vllm bench serve` and SGLang's bench_serving print"
    version: ClassVar[str] = "1"
    within_pages: ClassVar[bool] = True

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a block with its duration."""
        text = text_of(path)
        return _NEEDED in text and not text.lstrip().startswith("{") and bool(_blocks(text))

    def read(self, path: Path) -> Iterator[Run]:
        """Yield the run of each block."""
        text = page_of(path)
        base = f"{self.name}-{digest_of(text)}"
        found = _blocks(text)
        if not found:
            raise malformed(path, 1, _NEEDED, "no block has it")
        for at, block in enumerate(found):
            yield _run(f"{base}-{at}", block, place_of(block.above, at, len(found)))


def _blocks(text: str) -> list[Block]:
    return blocks(text.split("\n"), _LABELS, _NEEDED, _MARKER)


def _run(run_id: str, block: Block, where: dict[str, str | int]) -> Run:
    gathered = gather(_FIGURES, block.found)
    failed = gathered.condition.pop("failed", None)
    done = gathered.totals.get("samples")
    notes = ["there are sums and means alone: speeds are those of all requests side by side"]
    model = model_above(block.above)
    if model:
        notes.append("the model is that of the command printed above")
    if not gathered.run:
        notes.append("the block names no engine")
    if failed:
        notes.append(f"{failed} requests failed")
    return gathered.as_run(
        run_id,
        UNKNOWN,
        model=model or UNKNOWN,
        samples=done + failed if isinstance(failed, int) and done is not None else None,
        conditions=where,
        source_line=block.line,
        kind="speculative" if gathered.totals.get("cycles") else None,
        notes=tuple(notes),
    )
