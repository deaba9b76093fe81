"""The intervals that figures draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from ..defaults import CONFIDENCE

Interval = tuple[float, float | None, float | None]
"""Value, low, high; the ends are None where one observation supports no interval."""


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean over rounds with its t interval."""
    mean = fmean(values)
    if len(values) < 2:
        return mean, None, None
    from scipy.stats import t

    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def ratio_interval(pairs: Sequence[tuple[float, float]]) -> Interval:
    """Return the geometric mean of ``value / baseline`` over paired rounds with its t interval on the log ratios."""
    log, low, high = mean_interval([math.log(value / baseline) for value, baseline in pairs])
    return math.exp(log), None if low is None else math.exp(low), None if high is None else math.exp(high)


def wilson_interval(right: float, n: int) -> tuple[float, float]:
    """Return the Wilson score interval of a share of ``n`` problems."""
    from scipy.stats import norm

    z = float(norm.ppf((1 + CONFIDENCE) / 2))
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(middle - half, 0.0), min(middle + half, 1.0)
