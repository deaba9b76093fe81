"""What ``decodebench speculation`` shows of DFlash alone: candidates, seeding, multi-round sampling, published rules.

Only here are the trace keys of the backend read. Each module has an analysis: its figures, how they are computed from
verify cycles, and the tables that show them.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....core.contract.analysis import Analysis
from ....core.contract.figure import Figure
from . import candidate_counts, candidates, published, rounds, seeding

ANALYSES: Sequence[Analysis] = (candidates.ANALYSIS, rounds.ANALYSIS, seeding.ANALYSIS, published.ANALYSIS)
FIGURES: Sequence[Figure] = (candidate_counts.FIGURE,)
