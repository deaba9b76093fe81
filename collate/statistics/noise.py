"""How trustworthy a set of measurements is: percentiles, outliers, drift, variation, rounds that are needed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ... import defaults
from .intervals import Interval, normal_quantile, t_p_value, t_quantile

_FEWEST_TWINS = 4  # of three, two that happen to agree make the third an outlier


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


def outlier_p_values(values: ArrayLike) -> list[float]:
    """Two-sided p-value of each value being of the others' kind, by their own scatter; none below four values.

    The deleted residual, Student's t with n - 2 degrees of freedom (R. D. Cook, S. Weisberg, "Residuals and Influence
    in Regression", 1982, section 2.2.3): a value does not widen the scatter that it is compared with. A median absolute
    deviation of so few values calls every second triple an outlier. Several p-values need a correction for their
    number.

    Args:
        values: [n]; positive ones are compared on the log scale, where launch noise is symmetric.
    """
    x = _scaled(values)
    n = len(x)
    if n < _FEWEST_TWINS:
        return []
    found = []
    for i in range(n):
        others = np.delete(x, i)
        error = float(others.std(ddof=1)) * math.sqrt(1 + 1 / len(others))
        found.append(t_p_value(float(x[i] - others.mean()), error, n - 2))
    return found


def scatter_p_value(values: ArrayLike, deviation: float) -> float | None:
    """One-sided p-value of a scatter of at most ``deviation``, by the chi-squared test of a variance.

    Args:
        values: [n]; None comes back below two.
        deviation: relative standard deviation that is harmless.
    """
    from scipy import special

    x = _scaled(values)
    if len(x) < 2:
        return None
    return float(special.chdtrc(len(x) - 1, (len(x) - 1) * float(x.var(ddof=1)) / deviation**2))


def _scaled(values: ArrayLike) -> NDArray[np.float64]:
    """Logarithms of positive values, others relative to their mean."""
    x = np.asarray(values, dtype=float)
    scaled: NDArray[np.float64] = np.log(x) if bool((x > 0).all()) else x / (abs(float(x.mean())) or 1.0)
    return scaled


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
