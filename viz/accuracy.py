"""Accuracy in figures: each problem once, with its interval."""

from __future__ import annotations

from ..core.figure import Row
from .intervals import wilson_interval

# A problem counts once however many rounds repeat it: greedy rounds repeat the answer, not the evidence.
ACCURACY_CTE = """
problems AS (
    SELECT r.cell_id, p.sample_id, avg(p.score) AS score
    FROM samples p JOIN runs r ON r.run_id = p.run_id
    WHERE r.experiment = $experiment AND r.status = 'ok' AND p.status = 'ok' AND NOT p.is_warmup
          AND p.score IS NOT NULL
    GROUP BY r.cell_id, p.sample_id
), accuracy AS (
    SELECT cell_id, sum(score) AS right_answers, count(*) AS problems FROM problems GROUP BY cell_id
)
"""
"""Defines ``accuracy``: right answers and problems by cell."""


def share_of(row: Row) -> tuple[float, float | None, float | None]:
    """Return the accuracy of a row of ``accuracy`` in per cent with its Wilson interval."""
    right, problems = float(row["right_answers"]), int(row["problems"])
    low, high = wilson_interval(right, problems)
    return 100 * right / problems, 100 * low, 100 * high
