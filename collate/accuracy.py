"""Accuracy of a cell and its difference from the baseline, each problem counted once."""

from __future__ import annotations

from dataclasses import dataclass

from .attempts import ks_up_to, mean_over_problems, paired_mean_difference, pass_at_k
from .comparison import Accuracy, Estimate
from .observations import Cell
from .proportions import paired_difference, wilson
from .statistics import Interval, holm

_ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class _Scored:
    """The scores of a round.

    Attributes:
        task: name and version.
        scores: by problem, one an attempt.
    """

    task: str
    scores: dict[str, list[float]]

    @property
    def has_attempts(self) -> bool:
        """Whether a problem was answered more than once."""
        return any(len(scores) > 1 for scores in self.scores.values())

    @property
    def means(self) -> dict[str, float]:
        """The mean over a problem's attempts, by problem."""
        return {problem: sum(scores) / len(scores) for problem, scores in self.scores.items()}


def estimate(interval: Interval) -> Estimate:
    """Turn an interval into its record."""
    return Estimate(value=interval.value, low=interval.low, high=interval.high, n=interval.n)


def _scored(cell: Cell) -> _Scored | None:
    """The scores of the first finished round that has any: further rounds ask the same problems again."""
    for r in cell.rounds:
        scores: dict[str, list[float]] = {}
        for (problem, _), sample in r.answers().items():
            if sample["score"] is not None:
                scores.setdefault(problem, []).append(sample["score"])
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
    made = Accuracy(task=ours.task, value=estimate(_value(ours)), pass_at_k=_pass_at_k(ours))
    if cell is baseline:
        return made.model_copy(update={"verdict": "baseline"})
    theirs = _scored(baseline)
    if theirs is None or theirs.task != ours.task:
        return made
    common = sorted(ours.scores.keys() & theirs.scores.keys())
    if not common:
        return made
    difference = _difference(ours, theirs, common)
    return made.model_copy(update={"difference": estimate(difference), "p_value": difference.p_value})


def _value(scored: _Scored) -> Interval:
    means = scored.means
    if scored.has_attempts:
        return mean_over_problems(list(means.values()))
    return wilson(sum(means.values()), len(means))


def _difference(ours: _Scored, theirs: _Scored, common: list[str]) -> Interval:
    a, b = ([side.means[problem] for problem in common] for side in (ours, theirs))
    if ours.has_attempts or theirs.has_attempts:
        return paired_mean_difference(a, b)
    return paired_difference([mean > 0.5 for mean in a], [mean > 0.5 for mean in b])


def _pass_at_k(scored: _Scored) -> dict[int, Estimate]:
    """pass@k for every k that all problems have the attempts for; none where each was answered once."""
    if not scored.has_attempts:
        return {}
    counts = [(len(scores), sum(score > 0.5 for score in scores)) for scores in scored.scores.values()]
    fewest = min(n for n, _ in counts)
    return {k: estimate(mean_over_problems([pass_at_k(n, c, k) for n, c in counts])) for k in ks_up_to(fewest)}


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
