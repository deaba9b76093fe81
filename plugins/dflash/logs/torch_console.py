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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ....core.records.raw_log import RawLogError
from ....core.records.schema import Run
from ....core.sdk.logs.fields import percentages
from ....core.sdk.logs.figures import Figure, Gathered, form, gather
from ....core.sdk.logs.formats import BlockFormat
from ....core.sdk.logs.pages import Block, model_above
from ....core.sdk.logs.runs import UNKNOWN
from .console import ConsoleLog
from .console_lines import MEAN_TAU, SPEEDUP

_SHARES = "Acceptance length histogram"
_FIGURES = form(
    Figure("Baseline throughput", "engine.baseline"),
    Figure("DFlash throughput", "engine.dflash"),
    Figure(SPEEDUP, "published.tpot_speedup"),
    Figure(MEAN_TAU, "published.tau_mean"),
    Figure("Average acceptance length", "published.tau_mean"),
    Figure(_SHARES, "published.tau_shares_printed", "text"),
)
_DRAFT = re.compile(r"--draft(?:-name-or-path|-model)?[ =]+(\S{1,300})")


class TorchConsole(BlockFormat):
    """Reads the target alone and with its draft as a run each, where both rates are printed; else the latter."""

    name = "dflash-torch-console"
    summary = "what z-lab's benchmark prints in PyTorch: speed-up and acceptance length"
    version = "1"
    words = (SPEEDUP,)
    figures = _FIGURES
    needs = SPEEDUP

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for speed-up and acceptance length without the figures of the forks, which ``ConsoleLog`` reads."""
        return super().matches(path, head) and not ConsoleLog().matches(path, head)

    def pieces(self, lines: Sequence[str]) -> Iterator[Block]:
        """Yield the blocks that have both."""
        found = super().pieces(lines)
        return (block for block in found if {MEAN_TAU, "Average acceptance length"} & block.found.keys())

    def records(self, run_id: str, piece: Block, where: Mapping[str, str | int]) -> Iterator[Run]:
        """Yield the runs of a block."""
        gathered = gather(_FIGURES, piece.found)
        if "baseline" in gathered.engine:
            yield _run(f"{run_id}-baseline", piece, Gathered(), gathered.engine["baseline"], where)
        if printed := gathered.published.pop("tau_shares_printed", None):
            gathered.published |= _shares(printed)
        yield _run(run_id, piece, gathered, gathered.engine.get("dflash"), where)


def _shares(printed: str) -> dict[str, str]:
    try:
        return {"tau_shares": json.dumps(percentages(Path(), 0, _SHARES, printed))}
    except RawLogError:  # wrapped over several lines
        return {"tau_shares_printed": printed}


def _run(run_id: str, block: Block, gathered: Gathered, rate: float | None, where: Mapping[str, str | int]) -> Run:
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
