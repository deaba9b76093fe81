"""What z-lab's `python -m dflash.benchmark` prints of a server, SGLang's, vLLM's or MLX's.

::

    Backend:          sglang
    Dataset:          gsm8k
    Num prompts:      64
    Concurrency:      1
    Latency:          1013.2s
    Output tokens:    102679
    Throughput:       101.34 tok/s
    Accept length:    6.332
    Spec verify ct:   17227

The accept length is the mean over requests; tau is all output tokens by all verify cycles (z-lab/dflash,
`dflash/benchmark.py`, f014aae).
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

_FIGURES = form(
    Figure("Backend", "run.backend", "text"),
    Figure("Dataset", "run.task", "text"),
    Figure("Num prompts", "run.samples", "count"),
    Figure("Concurrency", "option.concurrency", "count"),
    Figure("Latency", "totals.wall_s", "s"),
    Figure("Total latency", "totals.wall_s", "s"),
    Figure("Output tokens", "totals.output_tokens", "count"),
    Figure("Throughput", "totals.tokens_per_s"),
    Figure("Accept length", "published.acceptance_length"),
    Figure("Spec verify ct", "totals.cycles", "count"),
)
_NEEDED = {"Backend", "Dataset", "Output tokens"}
_LABELS = Labels(_FIGURES)


class ClientConsole(LogParser):
    """Reads one run per block, without samples."""

    name: ClassVar[str] = "dflash-client-console"
    summary: ClassVar[str] = "what z-lab's dflash.benchmark prints of a server"
    version: ClassVar[str] = "1"
    within_pages: ClassVar[bool] = True

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a block with tokens and time."""
        text = text_of(path)
        return "Output tokens" in text and "Dataset" in text and bool(_blocks(text))

    def read(self, path: Path) -> Iterator[Run]:
        """Yield the run of each block."""
        text = page_of(path)
        base = f"{self.name}-{digest_of(text)}"
        found = _blocks(text)
        if not found:
            raise malformed(path, 1, "Output tokens", "no block has tokens and time")
        for at, block in enumerate(found):
            gathered = gather(_FIGURES, block.found)
            yield gathered.as_run(
                f"{base}-{at}",
                UNKNOWN,
                model=model_above(block.above) or UNKNOWN,
                kind="speculative" if gathered.totals.get("cycles") else None,
                conditions=place_of(block.above, at, len(found)),
                source_line=block.line,
                notes=(
                    "there are sums alone: speeds are those of all requests side by side",
                    "tau is all output tokens by all verify cycles; the printed accept length is a mean over requests",
                ),
            )


def _blocks(text: str) -> list[Block]:
    found = blocks(text.split("\n"), _LABELS, "Output tokens")
    return [
        block for block in found if block.found.keys() >= _NEEDED and {"Latency", "Total latency"} & block.found.keys()
    ]
