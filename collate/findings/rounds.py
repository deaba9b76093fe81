"""Rounds that did not finish, stand apart from their twins, scatter or drift."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...core.contract.finding import Doubt, Place
from ...core.records.metrics import METRICS
from ..statistics.noise import outliers, rounds_needed, slope, variation
from .subject import Subject, rounds_of

_NOTABLE = 0.05  # an outlier by rank that is nearer than this to its twins does no harm
_VARIATION = (0.05, 0.10)
_MANY = 1000  # rounds beyond which the number says nothing but "find a quieter machine"
_SHORT_S = 0.5  # the clock is fine enough for less; the machine's own unrest, which lasts longer, is not averaged out


def unfinished_rounds(subject: Subject) -> Iterator[Doubt]:
    """Rounds without a result, with their reasons."""
    for cell in subject.cells:
        for run in cell.failed:
            reason = f": {run['reason']}" if run["reason"] else ""
            yield Doubt(
                f"round {run['round']} of {subject.name(cell)} is {run['status']}{reason}",
                rows=[Place(run_id=run["run_id"])],
                severity="error",
            )


def single_rounds(subject: Subject) -> Iterator[Doubt]:
    """Cells of one round: whether a difference is more than the unrest of the machine cannot be told."""
    single = [cell for cell in subject.finished if len(cell.rounds) == 1]
    if single and len(subject.finished) > 1:
        yield Doubt(
            f"{len(single)} of {len(subject.finished)} cells have one round, and no interval",
            "repeat each in a process of its own, three times and more; a file of repetitions is one round",
            rounds_of(*single),
            "note",
        )


def outlier_rounds(subject: Subject) -> Iterator[Doubt]:
    """Rounds far from their twins (median absolute deviation)."""
    show = METRICS[subject.metric].format
    for cell in subject.cells:
        rounds = [r for r in cell.rounds if r.run[subject.metric] is not None]
        values = cell.values(subject.metric)
        middle = float(np.median(values)) if values else 0.0
        for i in outliers(values):
            if abs(values[i] - middle) > _NOTABLE * abs(middle):
                yield Doubt(
                    f"round {rounds[i].run['round']} of {subject.name(cell)} is an outlier: {subject.metric} "
                    f"{show(values[i])}, median of the cell {show(middle)}",
                    "look for what else ran then; the figure counts",
                    [Place(run_id=rounds[i].run["run_id"])],
                )


def variable_rounds(subject: Subject) -> Iterator[Doubt]:
    """Cells whose rounds scatter widely, and the rounds that would be needed where the scatter hides the answer."""
    for cell in subject.cells:
        values = cell.values(subject.metric)
        spread = variation(values)
        if spread is None:
            continue
        parts = []
        if spread > _VARIATION[0]:
            grade = "very noisy" if spread > _VARIATION[1] else "noisy"
            parts.append(f"is {grade}: {subject.metric} varies by {spread:.1%} between rounds")
        needed = rounds_needed(spread, subject.min_effect)
        if needed > len(values) and (subject.undecided is None or cell.cell_id in subject.undecided):
            count = f"about {needed}" if needed <= _MANY else f"more than {_MANY}"
            parts.append(f"{count} rounds are needed to tell {subject.min_effect:.1%} apart, it has {len(values)}")
        if parts:
            verb = "" if spread > _VARIATION[0] else "is too noisy to tell: "
            yield Doubt(f"{subject.name(cell)} {verb}{'; '.join(parts)}", rows=rounds_of(cell))


def drifting_rounds(subject: Subject) -> Iterator[Doubt]:
    """Cells that get steadily faster or slower from round to round."""
    for cell in subject.cells:
        found = [(r.run["round"], r.run[subject.metric]) for r in cell.rounds if r.run[subject.metric]]
        if len(found) < 5:
            continue
        x, y = zip(*found, strict=True)
        fit = slope(x, y)
        change = (fit.value or 0.0) * (max(x) - min(x)) / float(np.mean(y))
        if fit.p_value is not None and fit.p_value < 0.05 and abs(change) > subject.min_effect:
            yield Doubt(
                f"{subject.name(cell)} drifts: {subject.metric} changes by {change:+.1%} from first to last round",
                "let the machine reach a steady temperature, and interleave what is compared",
                rounds_of(cell),
            )


def short_rounds(subject: Subject) -> Iterator[Doubt]:
    """Cells whose rounds time so little work that the machine's unrest is not averaged out."""
    longest = {}
    for cell in subject.cells:
        times = [sum(sample["duration_s"] or 0.0 for sample in r.samples) for r in cell.rounds]
        if 0 < max(times, default=0.0) < _SHORT_S:
            longest[cell.cell_id] = max(times)
    short = [cell for cell in subject.cells if cell.cell_id in longest]
    if short:
        first = min(short, key=lambda cell: longest[cell.cell_id])
        others = f" and of {len(short) - 1} other cells less than {_SHORT_S:g} s" if len(short) > 1 else ""
        yield Doubt(
            f"a round of {subject.name(first)} times {longest[first.cell_id]:.2f} s of work at most{others}",
            f"take samples or tokens for {_SHORT_S:g} s and more",
            rounds_of(*short),
            "note",
        )
