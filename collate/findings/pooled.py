"""Imported runs that count as rounds of one cell although something was varied between them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...core.contract.finding import Doubt
from ..comparison.observations import Cell
from ..statistics.noise import variation
from .subject import Subject, rounds_of

_LEAST = 0.05
"""Coefficient of variation between runs below which launches alone may differ so."""

_TIMES = 5.0
"""How many times the scatter within a run that must be."""

_SPEEDS = ("decode_tokens_per_s", "prefill_tokens_per_s", "e2e_tokens_per_s", "scored_tokens_per_s", "e2e_s")


@dataclass(frozen=True, slots=True)
class _Spread:
    """How a figure of a cell varies.

    Attributes:
        cell: whose.
        metric: which figure.
        between: coefficient of variation of the runs.
        within: the same of what each run repeated, root mean square over the runs.
    """

    cell: Cell
    metric: str
    between: float
    within: float


def pooled_runs(subject: Subject) -> Iterator[Doubt]:
    """Imported runs of one cell that differ far more than the repetitions within each: something was varied."""
    imported = [cell for cell in subject.finished if cell.run["source_format"] != "decodebench"]
    found = [spread for cell in imported if (spread := _spread(subject, cell)) is not None]
    far = [spread for spread in found if spread.between > max(_LEAST, _TIMES * spread.within)]
    for one in sorted(far, key=lambda spread: -spread.between):
        yield Doubt(
            f"{len(one.cell.rounds)} runs of {subject.name(one.cell)} differ by {100 * one.between:.1f} % in "
            f"{one.metric}, repetitions within each by {100 * one.within:.1f} %: something was varied that the logs "
            "do not have",
            "import them again with it as a label, such as --label stack=rocm6 or --label stack={folder}",
            rounds_of(one.cell),
            "error",
        )


def _spread(subject: Subject, cell: Cell) -> _Spread | None:
    """Return how a cell's first speed varies; None where its runs, or what each repeated, cannot be compared."""
    metric = next((name for name in _SPEEDS if len(cell.values(name)) > 1), None)
    if metric is None:
        return None
    rows = subject.store.dicts(
        f"SELECT run_id, {metric} AS value, variation FROM sample_metrics WHERE {metric} IS NOT NULL "
        "AND NOT is_warmup AND run_id IN (SELECT unnest($runs))",
        {"runs": [r.run["run_id"] for r in cell.rounds]},
    )
    repeated: dict[str, list[float]] = {}
    told: dict[str, float] = {}
    for row in rows:
        repeated.setdefault(row["run_id"], []).append(row["value"])
        if row["variation"] is not None:
            told[row["run_id"]] = row["variation"]
    within = [told.get(run_id, variation(values)) for run_id, values in repeated.items()]
    known = [value for value in within if value is not None]
    between = variation(cell.values(metric))
    if between is None or not known:
        return None
    return _Spread(cell, metric, between, math.sqrt(float(np.mean(np.square(known)))))
