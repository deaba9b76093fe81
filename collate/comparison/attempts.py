"""Several answers to each problem: pass@k, and means over problems of the mean over a problem's attempts.

Pure functions. pass@k: M. Chen et al., "Evaluating Large Language Models Trained on Code" (arXiv 2107.03374), section
2.1. A problem with ``n`` attempts of which ``c`` are right passes within ``k`` of them with the share of the subsets of
size ``k`` that hold a right one, 1 - C(n-c, k) / C(n, k); this is unbiased, unlike 1 - (1 - c/n)^k.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ... import defaults
from ..statistics.intervals import Interval, t_interval
from ..statistics.proportions import wilson

_LEVELS = 1024


def pass_at_k(n: int, right: int, k: int) -> float:
    """Unbiased estimate of the chance that one of ``k`` answers is right.

    Args:
        n: attempts at the problem, at least ``k``.
        right: how many of them are right.
        k: answers that may be tried.

    Raises:
        ValueError: fewer attempts than ``k``, or more right ones than attempts.
    """
    if not (1 <= k <= n and 0 <= right <= n):
        raise ValueError(f"pass@{k} of {right} right answers among {n} attempts is not defined")
    return 1 - math.comb(n - right, k) / math.comb(n, k)


def ks_up_to(n: int) -> Iterator[int]:
    """Yield 1, 2, 5, 10, 20, 50, ... up to ``n``."""
    scale = 1
    while True:
        for k in (scale, 2 * scale, 5 * scale):
            if k > n:
                return
            yield k
        scale *= 10


def mean_over_problems(
    values: Sequence[float],
    confidence: float = defaults.CONFIDENCE,
    resamples: int = defaults.BOOTSTRAP_RESAMPLES,
    seed: int = defaults.SEED,
) -> Interval:
    """Mean of one value per problem with its percentile bootstrap over problems, seeded.

    Problems are what was sampled: attempts at one problem tell nothing of other problems. Where all problems have one
    value a bootstrap knows no spread, and Wilson's interval stands instead.

    Args:
        values: [problems], each from 0 to 1.
        confidence: of the interval.
        resamples: of the bootstrap.
        seed: of its draws.
    """
    x = np.asarray(values, dtype=float)
    n = len(x)
    if n == 0 or float(np.ptp(x)) == 0:
        return wilson(float(x.sum()), n, confidence)
    # A resample is told by how often it has each value. There are few where answers are right or wrong; of more than
    # _LEVELS, neighbours are drawn as their mean, which keeps the mean and loses 1 / _LEVELS**2 of the range squared.
    place = np.floor((x - x.min()) / np.ptp(x) * _LEVELS)
    _, level, counts = np.unique(place, return_inverse=True, return_counts=True)
    levels = np.bincount(level, weights=x) / counts
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)  # [resamples, levels]
    low, high = np.quantile(draws @ levels / n, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(x.mean()), float(low), float(high), n)


def paired_mean_difference(a: Sequence[float], b: Sequence[float], confidence: float = defaults.CONFIDENCE) -> Interval:
    """Mean of ``a`` minus mean of ``b`` on the same problems, with Student's interval and test over problems.

    Raises:
        ValueError: the sides have different lengths; pairs cannot be made up.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} problems cannot be paired")
    found = t_interval(np.asarray(a, dtype=float) - np.asarray(b, dtype=float), confidence)
    if found.value is None or found.low is None or found.high is None:
        return found
    return Interval(found.value, max(-1.0, found.low), min(1.0, found.high), found.n, found.p_value)
