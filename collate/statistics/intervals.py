"""Intervals of means and of differences of means, by Student's t; every function takes many experiments at once.

The unit of replication is the round: one process, all prompts. Methods: A. Georges, D. Buytaert, L. Eeckhout,
"Statistically rigorous Java performance evaluation" (OOPSLA 2007); T. Kalibera, R. Jones, "Rigorous benchmarking in
reasonable time" (ISMM 2013). SciPy is imported where it is used: ``scipy.special``, which is loaded in a third of the
time of ``scipy.stats``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ... import defaults

Array = NDArray[np.float64]

_LARGEST_LOG = 700.0  # exp of more is no float


@dataclass(frozen=True, slots=True)
class Interval:
    """A point estimate with its interval.

    Attributes:
        value: the estimate; None where there is none.
        low: lower end; None where the data support no interval.
        high: upper end.
        n: independent observations.
        p_value: two-sided, of the test that belongs to the interval; None where there is no interval.
        error: standard error of the estimate, where the interval is Student's.
        freedom: degrees of freedom of that error.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    p_value: float | None = None
    error: float | None = None
    freedom: float | None = None

    def exp(self) -> Interval:
        """The interval of the exponential: from a log ratio to a ratio; one too wide for a float is none."""
        if max(self.high or 0.0, -(self.low or 0.0)) > _LARGEST_LOG:
            return Interval(None if self.value is None else math.exp(self.value), n=self.n)
        value, low, high = (None if x is None else math.exp(x) for x in (self.value, self.low, self.high))
        return Interval(value, low, high, self.n, self.p_value)


@dataclass(frozen=True, slots=True)
class Means:
    """Estimates with their standard errors, of one experiment or of many.

    Attributes:
        value: [...] the estimates.
        error: [...] their standard errors.
        freedom: [...] the errors' degrees of freedom.
    """

    value: Array
    error: Array
    freedom: Array

    def bounds(self, confidence: float = defaults.CONFIDENCE) -> tuple[Array, Array]:
        """Both ends of the t intervals, each [...]."""
        from scipy import special

        half = special.stdtrit(self.freedom, 0.5 + confidence / 2) * self.error
        return self.value - half, self.value + half

    def p_values(self) -> Array:
        """Two-sided p-values, [...], of the estimates being 0."""
        from scipy import special

        with np.errstate(divide="ignore", invalid="ignore"):
            t = -np.abs(self.value) / self.error
        found: Array = np.where(self.error > 0, 2 * special.stdtr(self.freedom, t), np.where(self.value == 0, 1.0, 0.0))
        return found


def means(values: ArrayLike) -> Means:
    """Means of independent observations, [..., n] with n of at least 2, along the last axis."""
    x = np.asarray(values, dtype=float)
    n = x.shape[-1]
    error = x.std(axis=-1, ddof=1) / math.sqrt(n)
    return Means(x.mean(axis=-1), error, np.full_like(error, n - 1))


def differences(a: ArrayLike, b: ArrayLike) -> Means:
    """Mean of ``a`` minus mean of ``b``, [..., n] and [..., m], for observations that cannot be paired.

    Unequal variances: B. L. Welch, Biometrika 34 (1947), with Satterthwaite's degrees of freedom.
    """
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    n, m = x.shape[-1], y.shape[-1]
    vx, vy = x.var(axis=-1, ddof=1) / n, y.var(axis=-1, ddof=1) / m
    return Means(x.mean(axis=-1) - y.mean(axis=-1), np.sqrt(vx + vy), _satterthwaite(vx, n - 1, vy, m - 1))


def _satterthwaite(first: Array, freedom: float, second: Array, other_freedom: float) -> Array:
    """Degrees of freedom of a sum of two variances of means; 1 where both are 0."""
    with np.errstate(invalid="ignore"):
        found = (first + second) ** 2 / (first**2 / freedom + second**2 / other_freedom)
    freedoms: Array = np.where(first + second > 0, found, 1.0)
    return freedoms


def crossed(values: ArrayLike) -> Means:
    """Mean over rounds and prompts, [rounds, prompts], both of which stand for others of their kind.

    The variances of the rounds' means and of the prompts' means are added. What is peculiar to one prompt in one round
    is in both, so the interval is a little wide rather than narrow (as is the pigeonhole bootstrap of the same design:
    A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007); degrees of freedom by Satterthwaite.
    """
    x = np.asarray(values, dtype=float)
    rounds, prompts = x.shape
    of_rounds, of_prompts = x.mean(axis=1).var(ddof=1) / rounds, x.mean(axis=0).var(ddof=1) / prompts
    freedom = _satterthwaite(np.asarray(of_rounds), rounds - 1, np.asarray(of_prompts), prompts - 1)
    return Means(np.asarray(x.mean()), np.asarray(math.sqrt(of_rounds + of_prompts)), freedom)


def interval_of(found: Means, n: int, confidence: float = defaults.CONFIDENCE) -> Interval:
    """One experiment's estimate with its interval and test.

    Args:
        found: of shape [].
        n: independent observations behind it.
        confidence: of the interval.
    """
    low, high = map(float, found.bounds(confidence))
    p_value, error, freedom = (float(x) for x in (found.p_values(), found.error, found.freedom))
    return Interval(float(found.value), low, high, n, p_value, error, freedom)


def t_interval(values: ArrayLike, confidence: float = defaults.CONFIDENCE) -> Interval:
    """Student's t interval of a mean, with the test that the mean is 0; one value has no interval.

    Args:
        values: [n] independent observations.
        confidence: of the interval.
    """
    x = np.asarray(values, dtype=float)
    if len(x) < 2:
        return Interval(float(x[0]) if len(x) else None, n=len(x))
    return interval_of(means(x), len(x), confidence)


def welch_interval(a: ArrayLike, b: ArrayLike, confidence: float = defaults.CONFIDENCE) -> Interval:
    """Welch's interval of mean(a) - mean(b), [n] and [m]; ``n`` is that of the smaller side, at 1 there is none."""
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    n = min(len(x), len(y))
    if n < 2:
        return Interval(float(x.mean() - y.mean()) if n else None, n=n)
    return interval_of(differences(x, y), n, confidence)


def scale_mean(values: ArrayLike, confidence: float = defaults.CONFIDENCE) -> Interval:
    """Mean over rounds of a figure with its t interval.

    Positive figures are averaged on the log scale, where launch noise is symmetric and where the ratio of two means is
    the mean ratio: their mean is the geometric one. Others (a share may be 0) are averaged as they are.
    """
    x = np.asarray(values, dtype=float)
    if len(x) > 1 and float(np.ptp(x)) == 0:
        return Interval(float(x[0]), float(x[0]), float(x[0]), len(x))
    if len(x) > 1 and bool((x > 0).all()):
        return t_interval(np.log(x), confidence).exp()
    return t_interval(x, confidence)


def t_quantile(p: float, freedom: float) -> float:
    """Quantile of Student's t."""
    from scipy import special

    return float(special.stdtrit(freedom, p))


def normal_quantile(p: float) -> float:
    """Quantile of the standard normal distribution."""
    return NormalDist().inv_cdf(p)


def t_p_value(mean: float, error: float, freedom: float) -> float:
    """Two-sided p-value of a mean of 0, by Student's t."""
    return float(Means(np.asarray(mean), np.asarray(error), np.asarray(freedom)).p_values())
