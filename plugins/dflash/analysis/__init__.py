"""What ``decodebench speculation`` shows of DFlash alone: candidates, seeding, multi-round sampling, published rules.

Only here are the trace keys of the backend read. Each module has an analysis: its figures, how they are computed from
verify cycles, and the tables that show them. It is imported when it is asked for: a worker needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from ....core.contract.analysis import Analysis, Section

if TYPE_CHECKING:
    from ....collate.speculation import Speculation


def _analysis(name: str, summary: str) -> Analysis[Speculation]:
    def analyse(speculation: Speculation) -> Section | None:
        found: Section | None = import_module(f".{name}", __package__).analyse(speculation)
        return found

    return Analysis(name, summary, analyse)


ANALYSES: Sequence[Analysis[Speculation]] = (
    _analysis("candidates", "candidate blocks: how many were verified, which won, what that gained"),
    _analysis("rounds", "multi-round sampling: which round found each token"),
    _analysis("seeding", "rejected tokens as hints in the next block"),
    _analysis("published", "acceptance and times by the rules of the published scripts"),
)
