"""Accuracy: shares of right answers and paired differences between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from ... import defaults
from .ratios import Interval, normal_quantile


def wilson(right: float, n: int, confidence: float = defaults.CONFIDENCE) -> Interval:
    """Wilson's score interval of a share (E. B. Wilson, J. Am. Statistical Association 22, 1927).

    Args:
        right: number of right answers; partial scores may add up to a fraction.
        n: number of answers.
        confidence: of the interval.
    """
    if n == 0:
        return Interval(None)
    z = normal_quantile(0.5 + confidence / 2)
    share = right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if right == 0 else max(0.0, centre - half)
    high = 1.0 if right == n else min(1.0, centre + half)
    return Interval(share, low, high, n)


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided McNemar test: the binomial test on the problems that one side alone got right."""
    from scipy import stats

    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


def paired_difference(a: Sequence[bool], b: Sequence[bool], confidence: float = defaults.CONFIDENCE) -> Interval:
    """Share of ``a`` minus share of ``b`` on the same problems, with Newcombe's interval and McNemar's p-value.

    Method 10 of R. G. Newcombe, Statistics in Medicine 17 (1998) 2635-2650: the Wilson limits of both shares,
    combined with the correlation that the pairs show.

    Raises:
        ValueError: the sides have different lengths; pairs cannot be made up.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} answers cannot be paired")
    n = len(a)
    if n == 0:
        return Interval(None)
    both = sum(x and y for x, y in zip(a, b, strict=True))
    only_a, only_b = sum(a) - both, sum(b) - both
    neither = n - both - only_a - only_b
    first, second = wilson(sum(a), n, confidence), wilson(sum(b), n, confidence)
    l1, u1, l2, u2 = (cast(float, x) for x in (first.low, first.high, second.low, second.high))
    p1, p2 = sum(a) / n, sum(b) / n
    phi = _correlation(both, only_a, only_b, neither)
    low = math.sqrt(max(0.0, (p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2))
    high = math.sqrt(max(0.0, (p2 - l2) ** 2 - 2 * phi * (p2 - l2) * (u1 - p1) + (u1 - p1) ** 2))
    return Interval(p1 - p2, max(-1.0, p1 - p2 - low), min(1.0, p1 - p2 + high), n, mcnemar(only_a, only_b))


def unpaired_difference(
    a: tuple[float, int], b: tuple[float, int], confidence: float = defaults.CONFIDENCE
) -> Interval:
    """Difference of two shares of which only the totals are known, with interval and Fisher's exact p-value.

    Method 10 of R. G. Newcombe, Statistics in Medicine 17 (1998) 873-890. Where both sides answered the same problems,
    as pairs usually agree, interval and test are wider than those of the pairs would be.

    Args:
        a: share of right answers, and number of answers.
        b: the same of the other side.
        confidence: of the interval.
    """
    import numpy as np
    from scipy import stats

    (p1, n1), (p2, n2) = a, b
    first, second = wilson(p1 * n1, n1, confidence), wilson(p2 * n2, n2, confidence)
    l1, u1, l2, u2 = (cast(float, x) for x in (first.low, first.high, second.low, second.high))
    low, high = p1 - p2 - math.hypot(p1 - l1, u2 - p2), p1 - p2 + math.hypot(u1 - p1, p2 - l2)
    counts = np.array([[round(p * n), n - round(p * n)] for p, n in (a, b)])
    return Interval(p1 - p2, low, high, min(n1, n2), float(stats.fisher_exact(counts).pvalue))


def _correlation(both: int, only_a: int, only_b: int, neither: int) -> float:
    """Newcombe's phi: a positive one is corrected for continuity."""
    n = both + only_a + only_b + neither
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if margins == 0:
        return 0.0
    cross = both * neither - only_a * only_b
    return (max(0.0, cross - n / 2) if cross > 0 else cross) / math.sqrt(margins)
