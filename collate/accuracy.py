"""Accuracy of a cell and its difference from the baseline, each problem counted once."""

from __future__ import annotations

from dataclasses import dataclass

from .comparison import Accuracy, Estimate
from .observations import Cell, PromptKey
from .proportions import paired_difference, wilson
from .statistics import Interval, holm

_ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class _Scored:
    task: str
    scores: dict[PromptKey, float]


def estimate(interval: Interval) -> Estimate:
    """Turn an interval into its record."""
    return Estimate(value=interval.value, low=interval.low, high=interval.high, n=interval.n)


def _scored(cell: Cell) -> _Scored | None:
    """The scores of the first finished round that has any: further rounds ask the same problems again."""
    for r in cell.rounds:
        scores = {key: sample["score"] for key, sample in r.answers().items() if sample["score"] is not None}
        if scores:
            name, version = r.run["task"] or "unnamed task", r.run["task_version"]
            return _Scored(f"{name} {version}" if version else name, scores)
    return None


def accuracies(pairs: list[tuple[Cell, Cell]]) -> list[Accuracy | None]:
    """Return the accuracy of every (cell, baseline) pair; verdicts are Holm-corrected over all of them."""
    made = [_accuracy(cell, baseline) for cell, baseline in pairs]
    corrected = holm([None if accuracy is None else accuracy.p_value for accuracy in made])
    return [
        accuracy.model_copy(update={"verdict": _verdict(accuracy, p)}) if accuracy and p is not None else accuracy
        for accuracy, p in zip(made, corrected, strict=True)
    ]


def _accuracy(cell: Cell, baseline: Cell) -> Accuracy | None:
    ours = _scored(cell)
    if ours is None:
        return _of_totals(cell, baseline)
    value = estimate(wilson(sum(ours.scores.values()), len(ours.scores)))
    if cell is baseline:
        return Accuracy(task=ours.task, value=value, verdict="baseline")
    theirs = _scored(baseline)
    if theirs is None or theirs.task != ours.task:
        return Accuracy(task=ours.task, value=value)
    common = sorted(ours.scores.keys() & theirs.scores.keys())
    if not common:
        return Accuracy(task=ours.task, value=value)
    right, base_right = ([side.scores[key] > 0.5 for key in common] for side in (ours, theirs))
    difference = paired_difference(right, base_right)
    return Accuracy(task=ours.task, value=value, difference=estimate(difference), p_value=difference.p_value)


def _of_totals(cell: Cell, baseline: Cell) -> Accuracy | None:
    """Return what a log without samples says of its accuracy; without them there is no interval."""
    values = [value for value in cell.values("accuracy")]
    if not values:
        return None
    value = Estimate(value=values[0], n=(cell.rounds[0].run["totals"] or {}).get("samples") or 0)
    return Accuracy(
        task=cell.run["task"] or "unnamed task", value=value, **({"verdict": "baseline"} if cell is baseline else {})
    )


def _verdict(accuracy: Accuracy, p_value: float) -> str:
    if p_value >= _ALPHA or accuracy.difference is None or not accuracy.difference.value:
        return "no difference shown"
    return "higher" if accuracy.difference.value > 0 else "lower"
