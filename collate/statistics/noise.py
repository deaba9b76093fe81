"""How trustworthy a set of measurements is: percentiles, outliers, drift, variation, rounds that are needed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ... import defaults
from .intervals import Interval, normal_quantile, t_p_value, t_quantile

OUTLIER_SCORE = 3.5  # B. Iglewicz, D. Hoaglin, "How to detect and handle outliers" (1993)


def supports_percentile(n: int, q: float, confidence: float = defaults.CONFIDENCE) -> bool:
    """Say whether a percentile of ``n`` observations has a two-sided order-statistic interval at all.

    Args:
        n: number of observations.
        q: between 0 and 1; a median needs n >= 6, a quartile 13, the 90th percentile 36, the 95th 72, the 99th 368.
        confidence: two-sided.
    """
    tail = (1 - confidence) / 2
    return n > 0 and q**n <= tail and (1 - q) ** n <= tail


def percentile(values: ArrayLike, q: float, confidence: float = defaults.CONFIDENCE) -> Interval:
    """A percentile with its distribution-free order-statistic interval; no value where that interval cannot exist.

    Args:
        values: [n] observations.
        q: between 0 and 1; see ``supports_percentile`` for how many observations it takes.
        confidence: two-sided.
    """
    from scipy import stats

    x = np.sort(np.asarray(values, dtype=float))
    n = len(x)
    if not supports_percentile(n, q, confidence):
        return Interval(None, n=n)
    tail = (1 - confidence) / 2
    low = max(0, int(stats.binom.ppf(tail, n, q)) - 1)
    high = min(n - 1, int(stats.binom.ppf(1 - tail, n, q)))
    return Interval(float(np.quantile(x, q)), float(x[low]), float(x[high]), n)


def modified_z_scores(values: ArrayLike) -> NDArray[np.float64]:
    """Distance from the median in units of the scaled median absolute deviation; 0 where that is 0 and equal.

    Where more than half of the values are identical the deviation is 0; any other value is then infinitely far.
    """
    x = np.asarray(values, dtype=float)
    distance = x - np.median(x) if len(x) else x
    spread = 1.4826 * float(np.median(np.abs(distance))) if len(x) else 0.0
    if spread == 0:
        scores: NDArray[np.float64] = np.where(distance == 0, 0.0, np.copysign(np.inf, distance))
        return scores
    result: NDArray[np.float64] = distance / spread
    return result


def outliers(values: ArrayLike, score: float = OUTLIER_SCORE) -> list[int]:
    """Return the indices of values whose modified z-score exceeds ``score``; needs at least three values."""
    x = np.asarray(values, dtype=float)
    if len(x) < 3:
        return []
    return [int(i) for i in np.flatnonzero(np.abs(modified_z_scores(x)) > score)]


def slope(x: ArrayLike, y: ArrayLike, confidence: float = defaults.CONFIDENCE) -> Interval:
    """Least-squares slope of y over x with its t interval: drift; needs three points and two different x."""
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if len(a) < 3 or float(np.ptp(a)) == 0:
        return Interval(None, n=len(a))
    freedom = len(a) - 2
    dx, dy = a - a.mean(), b - b.mean()
    steepness = float(dx @ dy) / float(dx @ dx)
    rest = dy - steepness * dx
    error = math.sqrt(float(rest @ rest) / freedom / float(dx @ dx))
    half = t_quantile(0.5 + confidence / 2, freedom) * error
    p_value = t_p_value(steepness, error, freedom)
    return Interval(steepness, steepness - half, steepness + half, len(a), p_value)


def variation(values: ArrayLike) -> float | None:
    """Coefficient of variation: sample standard deviation (n - 1) over the mean; None below two values."""
    x = np.asarray(values, dtype=float)
    if len(x) < 2 or x.mean() == 0:
        return None
    return float(x.std(ddof=1) / abs(x.mean()))


def rounds_needed(deviation: float, effect: float, confidence: float = defaults.CONFIDENCE) -> int:
    """Rounds for a t interval of half width ``effect``.

    Args:
        deviation: standard deviation of the rounds' log ratios (or relative figures).
        effect: half width wanted, relative, e.g. 0.02.
        confidence: of the interval.
    """
    if deviation == 0:
        return 2
    rounds = max(2, math.ceil((normal_quantile(0.5 + confidence / 2) * deviation / effect) ** 2))
    while t_quantile(0.5 + confidence / 2, rounds - 1) * deviation / math.sqrt(rounds) > effect:
        rounds += 1
    return rounds
