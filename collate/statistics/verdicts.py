"""What a family of comparisons with one baseline shows: intervals that hold together, and the verdict of each.

Where several cells are compared, some 95 % interval misses by chance alone. The simultaneous intervals hold all at once
with 95 % confidence: each is widened to the confidence 0.95^(1/k) for k comparisons, in a single step (Z. Sidak,
"Rectangular confidence regions for the means of multivariate normal distributions", J. American Statistical Association
62, 1967, 626-633). That is valid however the comparisons depend on each other, as they do by their common baseline, and
with a variance of each comparison's own: a noisy cell widens its own interval and no other's. A method that pools
variances (Dunnett 1955) would be narrower and wrong as soon as one cell is noisier than the rest.

A verdict is read off the simultaneous interval, so nothing that is printed contradicts it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ... import defaults
from .intervals import Interval, Means
from .stopping import confidence_of_look

METHOD = "single-step (Sidak 1967), unequal variances"


def confidence_of_each(comparisons: int, confidence: float = defaults.CONFIDENCE) -> float:
    """Confidence of each of several intervals that are to hold together with ``confidence``."""
    return float(confidence ** (1 / max(comparisons, 1)))


def simultaneous(
    family: Sequence[Interval], most: Sequence[int | None] | None = None, confidence: float = defaults.CONFIDENCE
) -> list[Interval]:
    """Widen Student's intervals so that all of them hold together, and correct their p-values likewise.

    Args:
        family: one a comparison; those without an interval are not counted and come back as they are.
        most: rounds at most of each, where it was looked at after every round (``stopping``), else None; None: of all.
        confidence: of all together.
    """
    tested = sum(one.error is not None for one in family)
    each = confidence_of_each(tested, confidence)
    limits = most or [None] * len(family)
    widened = (at_look(one, limit, each) for one, limit in zip(family, limits, strict=True))
    return [
        one if one.p_value is None else replace(one, p_value=corrected(one.p_value, max(tested, 1))) for one in widened
    ]


def at_look(one: Interval, most: int | None, confidence: float = defaults.CONFIDENCE) -> Interval:
    """Return Student's interval with another confidence, which holds at all looks together where there are several.

    Args:
        one: without an interval it comes back as it is.
        most: rounds at most, where it was looked at after every round; None where it was not.
        confidence: of all looks together.

    Returns:
        The interval; its p-value is below ``1 - confidence`` exactly where the interval does not hold 0.
    """
    if one.value is None or one.error is None or one.freedom is None or one.p_value is None:
        return one
    level = confidence if most is None else confidence_of_look(one.n, most, confidence)
    found = Means(*(np.asarray(x) for x in (one.value, one.error, one.freedom)))
    low, high = map(float, found.bounds(level))
    return replace(one, low=low, high=high, p_value=min(1.0, one.p_value * (1 - confidence) / (1 - level)))


def corrected(p_value: float, comparisons: int) -> float:
    """Return the p-value that belongs to the simultaneous interval: 1 - (1 - p)^k, precise for small ones too."""
    return 1.0 if p_value >= 1 else -math.expm1(comparisons * math.log1p(-p_value))


def verdict_of(ratio: Interval, min_effect: float) -> str:
    """Say what a ratio shows, by its interval alone.

    Args:
        ratio: direction-normalised, above 1 is better; its interval is the simultaneous one.
        min_effect: relative difference that matters.

    Returns:
        ``equivalent`` where the whole interval lies within ``min_effect`` of 1 (two one-sided tests: D. J. Schuirmann,
        J. Pharmacokinetics and Biopharmaceutics 15, 1987), ``faster`` or ``slower`` where it lies wholly above or below
        1, ``no difference shown`` where it holds 1, ``not tested`` where there is one round, ``not comparable`` where
        there is no ratio.
    """
    if ratio.value is None:
        return "not comparable"
    if ratio.low is None or ratio.high is None:
        return "not tested" if ratio.n < 2 else "no difference shown"  # too wide for a number
    if ratio.low >= 1 / (1 + min_effect) and ratio.high <= 1 + min_effect:
        return "equivalent"
    if ratio.low > 1:
        return "faster"
    return "slower" if ratio.high < 1 else "no difference shown"
