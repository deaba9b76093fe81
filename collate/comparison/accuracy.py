"""Accuracy of a cell and its difference from the baseline, each problem counted once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ... import defaults
from ...core.records.schema import Totals
from ..statistics.intervals import Interval
from ..statistics.proportions import paired_difference, unpaired_difference, wilson
from ..statistics.verdicts import confidence_of_each, corrected
from .attempts import ks_up_to, mean_over_problems, paired_mean_difference, pass_at_k
from .observations import Cell, Row
from .result import Accuracy, Estimate


@dataclass(frozen=True)
class _Scored:
    """The scores of a round.

    Attributes:
        task: name and version.
        scores: by problem, one an attempt.
        further: other measures of the same answers, by name and likewise.
    """

    task: str
    scores: dict[str, list[float]]
    further: dict[str, dict[str, list[float]]]

    @property
    def has_attempts(self) -> bool:
        """Whether a problem was answered more than once."""
        return any(len(scores) > 1 for scores in self.scores.values())

    @cached_property  # asked for problem by problem
    def means(self) -> dict[str, float]:
        """The mean over a problem's attempts, by problem."""
        return _means(self.scores)


def _means(scores: dict[str, list[float]]) -> dict[str, float]:
    return {problem: sum(found) / len(found) for problem, found in scores.items()}


def estimate(interval: Interval) -> Estimate:
    """Turn an interval into its record."""
    return Estimate(value=interval.value, low=interval.low, high=interval.high, n=interval.n)


def _scored(cell: Cell) -> _Scored | None:
    """The scores of the first finished round that has any: further rounds ask the same problems again."""
    for r in cell.rounds:
        scores: dict[str, list[float]] = {}
        further: dict[str, dict[str, list[float]]] = {}
        for (problem, _), sample in r.answers().items():
            if sample["score"] is not None:
                scores.setdefault(problem, []).append(sample["score"])
                for name, value in sample["scores"].items():
                    further.setdefault(name, {}).setdefault(problem, []).append(value)
        if scores:
            return _Scored(_task_of(r.run), scores, further)
    return None


def _task_of(run: Row) -> str:
    name, version = run["task"] or "unnamed task", run["task_version"]
    return f"{name} {version}" if version else str(name)


def accuracies(pairs: list[tuple[Cell, Cell]]) -> list[Accuracy | None]:
    """Return the accuracy of every (cell, baseline) pair; intervals of differences hold for all, as verdicts do."""
    scored = {cell.cell_id: _scored(cell) for pair in pairs for cell in pair}
    alone = {cell.cell_id: _alone(scored[cell.cell_id]) for cell, _ in pairs}
    tested = sum(
        accuracy is not None and accuracy.p_value is not None
        for accuracy in _each(pairs, scored, alone, defaults.CONFIDENCE)
    )
    return [
        accuracy if accuracy is None or accuracy.p_value is None else _judged(accuracy, accuracy.p_value, tested)
        for accuracy in _each(pairs, scored, alone, confidence_of_each(tested))
    ]


def _each(
    pairs: list[tuple[Cell, Cell]],
    scored: Mapping[str, _Scored | None],
    alone: Mapping[str, Accuracy | None],
    confidence: float,
) -> list[Accuracy | None]:
    return [
        _against(cell, baseline, (scored[cell.cell_id], scored[baseline.cell_id]), alone[cell.cell_id], confidence)
        for cell, baseline in pairs
    ]


def _judged(accuracy: Accuracy, p_value: float, comparisons: int) -> Accuracy:
    """Read the verdict off the interval of the difference."""
    low, high = (accuracy.difference.low, accuracy.difference.high) if accuracy.difference else (None, None)
    verdict = "higher" if low is not None and low > 0 else "lower" if high is not None and high < 0 else None
    changed = {"p_value": corrected(p_value, comparisons), "verdict": verdict or "no difference shown"}
    return accuracy.model_copy(update=changed)


def _alone(ours: _Scored | None) -> Accuracy | None:
    """The accuracy of a cell that has scores, not yet compared."""
    if ours is None:
        return None
    return Accuracy(
        task=ours.task,
        value=estimate(_value(ours.scores)),
        pass_at_k=_pass_at_k(ours),
        further={name: estimate(_value(scores)) for name, scores in sorted(ours.further.items())},
    )


def _against(
    cell: Cell,
    baseline: Cell,
    scored: tuple[_Scored | None, _Scored | None],
    made: Accuracy | None,
    confidence: float,
) -> Accuracy | None:
    ours, theirs = scored
    if ours is None or made is None:
        return _of_totals(cell, baseline, confidence)
    if cell is baseline:
        return made.model_copy(update={"verdict": "baseline"})
    if theirs is None or theirs.task != ours.task:
        return made
    common = sorted(ours.scores.keys() & theirs.scores.keys())
    if not common:
        return made
    difference = _difference(ours, theirs, common, confidence)
    return made.model_copy(update={"difference": estimate(difference), "p_value": difference.p_value})


def _value(scores: dict[str, list[float]]) -> Interval:
    means = _means(scores)
    if any(len(found) > 1 for found in scores.values()):
        return mean_over_problems(list(means.values()))
    return wilson(sum(means.values()), len(means))


def _difference(ours: _Scored, theirs: _Scored, common: list[str], confidence: float) -> Interval:
    a, b = ([side.means[problem] for problem in common] for side in (ours, theirs))
    if ours.has_attempts or theirs.has_attempts or any(mean not in (0, 1) for mean in (*a, *b)):
        return paired_mean_difference(a, b, confidence)
    return paired_difference([mean == 1 for mean in a], [mean == 1 for mean in b], confidence)


def _pass_at_k(scored: _Scored) -> dict[int, Estimate]:
    """pass@k for every k that all problems have the attempts for; none where each was answered once."""
    if not scored.has_attempts:
        return {}
    counts = [(len(scores), sum(score > 0.5 for score in scores)) for scores in scored.scores.values()]
    fewest = min(n for n, _ in counts)
    return {k: estimate(mean_over_problems([pass_at_k(n, c, k) for n, c in counts])) for k in ks_up_to(fewest)}


def _of_totals(cell: Cell, baseline: Cell, confidence: float) -> Accuracy | None:
    """Return what a log without samples says: an interval needs their number, and no problem can be paired."""
    ours, theirs = _totals(cell), _totals(baseline)
    if ours is None or ours.accuracy is None:
        return None
    alone = Accuracy(task=_task_of(cell.run), value=_total_value(ours.accuracy, ours.samples))
    if cell is baseline:
        return alone.model_copy(update={"verdict": "baseline"})
    if theirs is None or theirs.accuracy is None or _task_of(baseline.run) != alone.task:
        return alone
    if ours.samples is None or theirs.samples is None:
        return alone.model_copy(update={"difference": Estimate(value=ours.accuracy - theirs.accuracy)})
    difference = unpaired_difference((ours.accuracy, ours.samples), (theirs.accuracy, theirs.samples), confidence)
    return alone.model_copy(update={"difference": estimate(difference), "p_value": difference.p_value})


def _totals(cell: Cell) -> Totals | None:
    told = next((r.run["totals"] for r in cell.rounds if r.run["totals"]), None)
    return None if told is None else Totals.model_validate(told)


def _total_value(share: float, samples: int | None) -> Estimate:
    return Estimate(value=share) if samples is None else estimate(wilson(share * samples, samples))
