"""Accuracy: shares of right answers and paired differences between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from ... import defaults
from .intervals import Interval, normal_quantile

_SUREST = 1 - 1e-12  # beyond, a confidence cannot be told from 1


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
    """Two-sided mid-p McNemar test: the binomial test on the problems that one side alone got right.

    The exact test rejects far too rarely where few problems differ; mid-p keeps its level there (M. W. Fagerland,
    S. Lydersen, P. Laake, BMC Medical Research Methodology 13:91, 2013).
    """
    discordant = only_a + only_b
    if discordant == 0:
        return 1.0
    fewer = min(only_a, only_b)
    return min(1.0, 2 * _mid_p_below(fewer, discordant, 0.5))


def _mid_p_below(k: int, n: int, share: float) -> float:
    """P(X < k) + P(X = k) / 2 of a binomial X."""
    from scipy import special

    below = float(special.bdtr(k - 1, n, share)) if k > 0 else 0.0
    return below + (float(special.bdtr(k, n, share)) - below) / 2


def _mid_p_limits(k: int, n: int, confidence: float) -> tuple[float, float]:
    """Limits of a binomial share: where the mid-p of both tails falls to half of ``1 - confidence``."""
    from scipy import optimize

    tail = (1 - confidence) / 2

    def limit(k: int) -> float:
        """Return the upper one; nothing is above 1."""
        return 1.0 if k == n else float(optimize.brentq(lambda share: _mid_p_below(k, n, share) - tail, k / n, 1.0))

    return 1 - limit(n - k), limit(k)


def paired_difference(a: Sequence[bool], b: Sequence[bool], confidence: float = defaults.CONFIDENCE) -> Interval:
    """Share of ``a`` minus share of ``b`` on the same problems, with interval and p-value of one method.

    The difference is the share of discordant problems times how one-sided they are: ``d (2 t - 1)``, t being the share
    of the discordant ones that ``a`` got right. t has the mid-p interval that belongs to the mid-p McNemar test, d
    Wilson's; both are joined by the recovery of variances (G. Y. Zou, A. Donner, Statistics in Medicine 27, 2008),
    kept on t's side of 0. So the interval leaves 0 exactly where the test rejects.

    Raises:
        ValueError: the sides have different lengths; pairs cannot be made up.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} answers cannot be paired")
    n = len(a)
    if n == 0:
        return Interval(None)
    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    discordant = only_a + only_b
    if discordant == 0:
        _, most = _mid_p_limits(0, n, confidence)
        return Interval(0.0, -most, most, n, 1.0)
    d = wilson(discordant, n, confidence)
    d_low, d_high = cast(float, d.low), cast(float, d.high)
    t_low, t_high = _mid_p_limits(only_a, discordant, confidence)
    share, side = discordant / n, (only_a - only_b) / discordant
    low, high = 2 * t_low - 1, 2 * t_high - 1
    spread = side * max(d_high - share, share - d_low)
    below = share * side - math.hypot(share * (side - low), spread)
    above = share * side + math.hypot(share * (high - side), spread)
    below = max(below, d_low * low) if low > 0 else below
    above = min(above, d_low * high) if high < 0 else above
    return Interval(share * side, max(-1.0, below), min(1.0, above), n, mcnemar(only_a, only_b))


def unpaired_difference(
    a: tuple[float, int], b: tuple[float, int], confidence: float = defaults.CONFIDENCE
) -> Interval:
    """Difference of two shares of which only the totals are known, with the p-value that belongs to its interval.

    Method 10 of R. G. Newcombe, Statistics in Medicine 17 (1998) 873-890; the p-value is 1 less the confidence at
    which that interval touches 0. Where both sides answered the same problems, as pairs usually agree, interval and
    test are wider than those of the pairs would be.

    Args:
        a: share of right answers, and number of answers.
        b: the same of the other side.
        confidence: of the interval.
    """
    from scipy import optimize

    def nearest_to_0(confidence: float) -> float:
        """Return the end that lies towards 0, signed so that it is above 0 where 0 is left out."""
        low, high = _newcombe(a, b, confidence)
        return low if a[0] > b[0] else -high

    low, high = _newcombe(a, b, confidence)
    if a[0] == b[0]:
        p_value = 1.0
    elif nearest_to_0(_SUREST) > 0:
        p_value = 1 - _SUREST
    else:
        p_value = 1 - float(optimize.brentq(nearest_to_0, 0.0, _SUREST, xtol=1e-12))
    return Interval(a[0] - b[0], low, high, min(a[1], b[1]), p_value)


def _newcombe(a: tuple[float, int], b: tuple[float, int], confidence: float) -> tuple[float, float]:
    (p1, n1), (p2, n2) = a, b
    first, second = wilson(p1 * n1, n1, confidence), wilson(p2 * n2, n2, confidence)
    l1, u1, l2, u2 = (cast(float, x) for x in (first.low, first.high, second.low, second.high))
    return p1 - p2 - math.hypot(p1 - l1, u2 - p2), p1 - p2 + math.hypot(u1 - p1, p2 - l2)
