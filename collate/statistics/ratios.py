"""Intervals and tests on ratios. The unit of replication is the round: one process, all prompts.

Pure functions on arrays; SciPy is imported where it is used. Methods: A. Georges, D. Buytaert, L. Eeckhout,
"Statistically rigorous Java performance evaluation" (OOPSLA 2007); T. Kalibera, R. Jones, "Rigorous benchmarking in
reasonable time" (ISMM 2013).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    p_value: float | None = None

    def exp(self) -> Interval:
        """The interval of the exponential: from a log ratio to a ratio; one too wide for a float is none."""
        if max(self.high or 0.0, -(self.low or 0.0)) > _LARGEST_LOG:
            return Interval(None if self.value is None else math.exp(self.value), n=self.n)
        value, low, high = (None if x is None else math.exp(x) for x in (self.value, self.low, self.high))
        return Interval(value, low, high, self.n, self.p_value)


def t_interval(values: ArrayLike, confidence: float = defaults.CONFIDENCE) -> Interval:
    """Student's t interval of a mean, with the test that the mean is 0; one value has no interval.

    Args:
        values: [n] independent observations.
        confidence: of the interval.
    """
    x = np.asarray(values, dtype=float)
    n = len(x)
    if n == 0:
        return Interval(None)
    mean = float(x.mean())
    if n == 1:
        return Interval(mean, n=1)
    error = float(x.std(ddof=1)) / math.sqrt(n)
    half = t_quantile(0.5 + confidence / 2, n - 1) * error
    return Interval(mean, mean - half, mean + half, n, t_p_value(mean, error, n - 1))


def t_quantile(p: float, freedom: float) -> float:
    """Quantile of Student's t. From ``scipy.special``, which is loaded in a third of the time of ``scipy.stats``."""
    from scipy import special

    return float(special.stdtrit(freedom, p))


def normal_quantile(p: float) -> float:
    """Quantile of the standard normal distribution."""
    from scipy import special

    return float(special.ndtri(p))


def t_p_value(mean: float, error: float, freedom: float) -> float:
    """Two-sided p-value of a mean of 0, by Student's t."""
    from scipy import special

    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * special.stdtr(freedom, -abs(mean) / error))


def welch_interval(a: ArrayLike, b: ArrayLike, confidence: float = defaults.CONFIDENCE) -> Interval:
    """Welch's interval of mean(a) - mean(b), for observations that cannot be paired.

    B. L. Welch, Biometrika 34 (1947). ``n`` is that of the smaller side.
    """
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    n = min(len(x), len(y))
    if n == 0:
        return Interval(None)
    difference = float(x.mean() - y.mean())
    if n == 1:
        return Interval(difference, n=1)
    vx, vy = float(x.var(ddof=1)) / len(x), float(y.var(ddof=1)) / len(y)
    error = math.sqrt(vx + vy)
    freedom = (vx + vy) ** 2 / (vx**2 / (len(x) - 1) + vy**2 / (len(y) - 1)) if error > 0 else 1.0
    half = t_quantile(0.5 + confidence / 2, freedom) * error
    return Interval(difference, difference - half, difference + half, n, t_p_value(difference, error, freedom))


@dataclass(frozen=True, slots=True)
class PairedRound:
    """One round of two cells on the same prompts: the parts of the metric, per prompt.

    Attributes:
        numerator: [prompts] of the cell.
        denominator: [prompts] of the cell.
        base_numerator: [prompts] of the baseline.
        base_denominator: [prompts] of the baseline.
    """

    numerator: Array
    denominator: Array
    base_numerator: Array
    base_denominator: Array

    def log_ratios(self, chosen: NDArray[np.intp]) -> Array:
        """[...] log of the ratio of totals over the prompts chosen, [..., prompts]."""
        each = np.ones(chosen.shape[-1])  # a product sums short rows many times faster than sum() does
        cell = (np.take(self.numerator, chosen) @ each) / (np.take(self.denominator, chosen) @ each)
        base = (np.take(self.base_numerator, chosen) @ each) / (np.take(self.base_denominator, chosen) @ each)
        result: Array = np.log(cell / base)
        return result

    def mean_log_ratios(self, chosen: NDArray[np.intp]) -> Array:
        """[...] log of the geometric mean of the chosen prompts' own ratios, [..., prompts]."""
        cell, base = self.numerator / self.denominator, self.base_numerator / self.base_denominator
        count = chosen.shape[-1]
        result: Array = np.take(np.log(cell / base), chosen) @ np.full(count, 1 / count)
        return result


Statistic = Callable[[PairedRound, NDArray[np.intp]], Array]


def ratio_of_totals(rounds: Sequence[PairedRound], confidence: float = defaults.CONFIDENCE) -> Interval:
    """Ratio of totals with its interval, paired by round and prompt.

    Below ten rounds a t interval on the rounds' log ratios, from ten on a hierarchical bootstrap.
    """
    return _ratio(rounds, PairedRound.log_ratios, confidence)


def ratio_geomean(rounds: Sequence[PairedRound], confidence: float = defaults.CONFIDENCE) -> Interval:
    """Geometric mean over prompts of the prompts' ratios, with its interval over rounds."""
    return _ratio(rounds, PairedRound.mean_log_ratios, confidence)


def _ratio(rounds: Sequence[PairedRound], statistic: Statistic, confidence: float) -> Interval:
    values = [float(statistic(paired, np.arange(len(paired.numerator)))) for paired in rounds]
    if len(rounds) < defaults.BOOTSTRAP_FROM_ROUNDS:
        return t_interval(values, confidence).exp()
    return _bootstrap(rounds, statistic, float(np.mean(values)), confidence).exp()


def _bootstrap(
    rounds: Sequence[PairedRound],
    statistic: Statistic,
    value: float,
    confidence: float,
    resamples: int = defaults.BOOTSTRAP_RESAMPLES,
    seed: int = defaults.SEED,
) -> Interval:
    """Hierarchical bootstrap: rounds first, then prompts within each; expanded percentile interval, seeded.

    A percentile interval of few rounds is too short: the spread of resamples is that of n instead of n - 1 freedoms,
    and normal instead of Student's. So the percentiles are taken as far out as those two make good for (T. Hesterberg,
    "What teachers should know about the bootstrap", The American Statistician 69, 2015, section 4.4.3). The p-value
    undoes the same expansion on the smaller share of resamples on one side of 0, which counts as half a resample at
    least.
    """
    from scipy import special

    generator = np.random.default_rng(seed)
    n = len(rounds)
    drawn = generator.integers(n, size=(resamples, n)).ravel().astype(np.min_scalar_type(n))
    places = np.split(np.argsort(drawn, kind="stable"), np.cumsum(np.bincount(drawn, minlength=n))[:-1])
    logs = np.empty(resamples * n)
    for paired, here in zip(rounds, places, strict=True):
        prompts = len(paired.numerator)
        logs[here] = statistic(paired, generator.integers(prompts, size=(len(here), prompts)))
    means = logs.reshape(resamples, n).mean(axis=1)
    widening = math.sqrt(n / (n - 1))
    tail = float(special.ndtr(-widening * t_quantile(0.5 + confidence / 2, n - 1)))
    low, high = np.quantile(means, [tail, 1 - tail])
    side = max(min(float((means <= 0).mean()), float((means >= 0).mean())), 0.5 / resamples)
    p_value = t_p_value(max(0.0, -normal_quantile(side)), widening, n - 1)
    return Interval(value, float(low), float(high), n, p_value)


def scale_mean(values: ArrayLike, confidence: float = defaults.CONFIDENCE) -> Interval:
    """Mean over rounds of a figure with its t interval.

    Positive figures are averaged on the log scale, where launch noise is symmetric and where the ratio of two means is
    the mean ratio; others (a share may be 0) as they are.
    """
    x = np.asarray(values, dtype=float)
    if len(x) > 1 and float(np.ptp(x)) == 0:
        return Interval(float(x[0]), float(x[0]), float(x[0]), len(x))
    if len(x) > 1 and bool((x > 0).all()):
        return t_interval(np.log(x), confidence).exp()
    return t_interval(x, confidence)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (Scandinavian J. Statistics 6, 1979); None stays None and is not counted."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        corrected[i] = largest
    return corrected


def verdict_of(
    ratio: Interval, p_value: float | None, min_effect: float, confidence: float = defaults.CONFIDENCE
) -> str:
    """Say what a ratio shows.

    Args:
        ratio: direction-normalised, above 1 is better.
        p_value: corrected over the family of comparisons.
        min_effect: relative difference that matters.
        confidence: of the test.

    Returns:
        ``faster`` or ``slower`` where the test is significant and the estimate at least ``min_effect`` away from 1;
        ``equivalent`` where the whole interval lies within ``min_effect``; else ``no difference shown``.
    """
    if ratio.value is None:
        return "not comparable"
    if ratio.low is None or ratio.high is None or p_value is None:
        return "no difference shown"
    if ratio.low >= 1 / (1 + min_effect) and ratio.high <= 1 + min_effect:
        return "equivalent"
    if p_value < 1 - confidence:
        if ratio.value >= 1 + min_effect:
            return "faster"
        if ratio.value <= 1 / (1 + min_effect):
            return "slower"
    return "no difference shown"
