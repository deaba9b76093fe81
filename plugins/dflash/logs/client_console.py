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

from collections.abc import Iterator, Sequence

from ....core.sdk.logs.figures import Figure, form
from ....core.sdk.logs.formats import BlockFormat
from ....core.sdk.logs.pages import Block

_NEEDED, _TIMES = {"Backend", "Dataset", "Output tokens"}, {"Latency", "Total latency"}


class ClientConsole(BlockFormat):
    """Reads one run per block, without samples."""

    name = "dflash-client-console"
    summary = "what z-lab's dflash.benchmark prints of a server"
    version = "1"
    words = ("Output tokens", "Dataset")
    needs = "Output tokens"
    figures = form(
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
    notes = (
        "there are sums alone: speeds are those of all requests side by side",
        "tau is all output tokens by all verify cycles; the printed accept length is a mean over requests",
    )

    def pieces(self, lines: Sequence[str]) -> Iterator[Block]:
        """Yield the blocks that have tokens and time."""
        found = super().pieces(lines)
        return (block for block in found if _NEEDED <= block.found.keys() and _TIMES & block.found.keys())
