"""The ratio of totals beside the median of the prompts' own: where they disagree, a few prompts decide the total."""

from __future__ import annotations

from collections.abc import Iterable

from .result import ComparisonRow, Estimate

_MOST_NAMED = 2


def robust_disagreements(rows: Iterable[ComparisonRow], min_effect: float) -> list[str]:
    """Return one warning for all rows whose two ratios disagree; none where they agree.

    Args:
        rows: those of a comparison.
        min_effect: relative difference that matters.
    """
    found = [row for row in rows if disagree(row.ratio, row.ratio_median, min_effect)]
    if not found:
        return []
    told = [
        f"{row.cell.label!r}: ratio of totals {_words(row.ratio)}, median of prompts' ratios {_words(row.ratio_median)}"
        for row in found[:_MOST_NAMED]
    ]
    more = [f"{len(found) - _MOST_NAMED} more such, in --json"] if len(found) > _MOST_NAMED else []
    return ["a few prompts dominate these totals: " + "; ".join(told + more)]


def disagree(totals: Estimate, median: Estimate, min_effect: float) -> bool:
    """Say whether two ratios lie outside each other's interval, and further apart than ``min_effect``.

    False where either has no interval.
    """
    if totals.value is None or median.value is None:
        return False
    apart = max(totals.value / median.value, median.value / totals.value)
    return apart > 1 + min_effect and _is_outside(totals.value, median) and _is_outside(median.value, totals)


def _is_outside(value: float, other: Estimate) -> bool:
    return other.low is not None and other.high is not None and not other.low <= value <= other.high


def _words(ratio: Estimate) -> str:
    return f"{ratio.value:.3g} [{ratio.low:.3g}, {ratio.high:.3g}]"
