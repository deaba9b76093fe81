"""Sparklines: how a cell's speed went over its rounds, or within its answers, in a dozen characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from ...collate.comparison.result import Comparison
from ...core.records.store import Store

WIDTH = 12
LEAST_SPAN = 0.1
"""Of the mean: smaller changes look flat, so that noise of a per cent does not look like a mountain."""

_BLOCKS, _ASCII = "▁▂▃▄▅▆▇", "1234567"  # an odd number, so that what is flat stays on the middle one
_FEWEST_ROUNDS = 3

_STEPS_SQL = f"""
WITH measured AS (
    SELECT r.cell_id, t."index", t.tokens, t.step_s FROM steps t
    JOIN sample_facts f ON f.run_id = t.run_id AND f.sample = t.sample JOIN runs r ON r.run_id = t.run_id
    WHERE r.experiment = $experiment AND r.status = 'ok' AND NOT f.is_warmup AND t."index" > 0 AND t.step_s > 0
), longest AS (
    SELECT cell_id, max("index") AS steps FROM measured GROUP BY cell_id
)
SELECT cell_id, sum(tokens) / sum(step_s) AS value FROM measured JOIN longest USING (cell_id)
GROUP BY cell_id, ("index" - 1) * least(steps, {WIDTH}) // steps
ORDER BY cell_id, ("index" - 1) * least(steps, {WIDTH}) // steps
"""


@dataclass(frozen=True, slots=True)
class Courses:
    """The course of every cell of a comparison.

    Attributes:
        over: ``rounds``: the comparison's metric, a value per round; ``steps``: decode speed, from the second step of
            the answers to the last.
        values: by cell id, in order of time.
    """

    over: Literal["rounds", "steps"]
    values: dict[str, list[float]]


def courses(store: Store, comparison: Comparison) -> Courses:
    """Return the courses over rounds, or over steps where no cell has three rounds."""
    if comparison.steady_state:
        store.leave_out_first_samples()
    sql = f"""
        SELECT cell_id, {comparison.metric} AS value FROM run_metrics
        WHERE experiment = $experiment AND status = 'ok' AND value IS NOT NULL ORDER BY cell_id, round, started_at
    """
    rounds = _by_cell(store, sql, comparison.experiment)
    if any(len(values) >= _FEWEST_ROUNDS for values in rounds.values()):
        return Courses("rounds", rounds)
    return Courses("steps", _by_cell(store, _STEPS_SQL, comparison.experiment))


def _by_cell(store: Store, sql: str, experiment: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for cell_id, value in store.query(sql, {"experiment": experiment})[1]:
        found.setdefault(cell_id, []).append(float(value))
    return found


def sparkline(values: Sequence[float], *, has_unicode: bool, width: int = WIDTH) -> str:
    """Return one character per value, the lowest to the highest; more values than ``width`` are averaged in turn.

    Args:
        values: in order of time; fewer than two have no course and give an empty text.
        has_unicode: blocks; else digits from 1, lowest, to 7.
        width: characters at most.
    """
    if len(values) < 2:
        return ""
    levels = _BLOCKS if has_unicode else _ASCII
    n = min(len(values), width)
    means = [fmean(values[i * len(values) // n : (i + 1) * len(values) // n]) for i in range(n)]
    middle = (max(means) + min(means)) / 2
    span = max(max(means) - min(means), LEAST_SPAN * abs(fmean(means)))
    if span == 0:
        return levels[len(levels) // 2] * n
    return "".join(levels[round((0.5 + (mean - middle) / span) * (len(levels) - 1))] for mean in means)
