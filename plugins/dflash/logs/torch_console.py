"""What z-lab's own benchmark prints in PyTorch.

::

    Baseline throughput: 21.66 tok/s
    DFlash throughput:  127.02 tok/s
    Decoding speedup: 5.86
    Average Acceptance length: 7.47
    Acceptance length histogram: ['0.0%', '9.8%', ...]

A throughput is 1 / the mean over samples of the time per token; versions of before 2026 print none. The acceptance
length is a mean too, of samples or of cycles (z-lab/dflash, `dflash/benchmark.py`). All are kept as printed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from ....core.contract.log_parser import LogParser
from ....core.records.raw_log import RawLogError
from ....core.records.schema import Run
from ....core.sdk.logs.fields import percentages
from ....core.sdk.logs.figures import Figure, Gathered, form, gather
from ....core.sdk.logs.pages import Block, Labels, blocks, model_above, place_of
from ....core.sdk.logs.runs import UNKNOWN, digest_of
from ....core.sdk.logs.structure import page_of, text_of
from ....core.sdk.logs.text import malformed
from .console import ConsoleLog
from .console_lines import MEAN_TAU, SPEEDUP

_SHARES = "Acceptance length histogram"
_FIGURES = form(
    Figure("Baseline throughput", "engine.baseline"),
    Figure("DFlash throughput", "engine.dflash"),
    Figure(SPEEDUP, "published.tpot_speedup"),
    Figure(MEAN_TAU, "published.tau_mean"),
    Figure("Average acceptance length", "published.tau_mean"),
)
_LABELS = Labels((*_FIGURES, _SHARES))
_DRAFT = re.compile(r"--draft(?:-name-or-path|-model)?[ =]+(\S{1,300})")


class TorchConsole(LogParser):
    """Reads the target alone and with its draft as a run each, where both rates are printed; else the latter."""

    name: ClassVar[str] = "dflash-torch-console"
    summary: ClassVar[str] = "what z-lab's benchmark prints in PyTorch: speed-up and acceptance length"
    version: ClassVar[str] = "1"
    within_pages: ClassVar[bool] = True

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for speed-up and acceptance length without the figures of the forks, which ``ConsoleLog`` reads."""
        text = text_of(path)
        return SPEEDUP in text and bool(_blocks(text)) and not ConsoleLog().matches(path, head)

    def read(self, path: Path) -> Iterator[Run]:
        """Yield the runs of each block."""
        text = page_of(path)
        base = f"{self.name}-{digest_of(text)}"
        found = _blocks(text)
        if not found:
            raise malformed(path, 1, SPEEDUP, "no block has a speed-up and an acceptance length")
        for at, block in enumerate(found):
            shares = _shares(path, block)
            gathered = gather(_FIGURES, {name: text for name, text in block.found.items() if name != _SHARES})
            where = place_of(block.above, at, len(found))
            rates = gathered.engine
            if "baseline" in rates:
                yield _run(f"{base}-{at}-baseline", block, Gathered(), rates["baseline"], where)
            gathered.published |= shares
            yield _run(f"{base}-{at}", block, gathered, rates.get("dflash"), where)


def _blocks(text: str) -> list[Block]:
    found = blocks(text.split("\n"), _LABELS, SPEEDUP)
    return [block for block in found if {MEAN_TAU, "Average acceptance length"} & block.found.keys()]


def _shares(path: Path, block: Block) -> dict[str, str]:
    if _SHARES not in block.found:
        return {}
    try:
        return {"tau_shares": json.dumps(percentages(path, block.line, _SHARES, block.found[_SHARES]))}
    except RawLogError:  # wrapped over several lines
        return {"tau_shares_printed": block.found[_SHARES]}


def _run(run_id: str, block: Block, gathered: Gathered, rate: float | None, where: dict[str, str | int]) -> Run:
    drafts = {found for line in block.above for found in _DRAFT.findall(line)}
    is_drafted = bool(gathered.published)
    option = {"draft_model": drafts.pop()} if is_drafted and len(drafts) == 1 else {}
    return gathered.as_run(
        run_id,
        "dflash" if is_drafted else "transformers",
        kind="speculative" if is_drafted else "autoregressive",
        model=model_above(block.above) or UNKNOWN,
        options=option,
        conditions=where,
        settings={} if rate is None else {"published_tokens_per_s": repr(rate)},
        source_line=block.line,
        notes=("means alone: a throughput is 1 / the mean time per token; tokens and times are not known",),
    )
