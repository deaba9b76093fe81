"""Looking at a comparison after every round without fooling oneself: how much of the error each look may spend.

Whoever looks again and again until an interval excludes 1 finds a difference in most comparisons of equals. Here the
error is spent by a function of the information so far, which is the share of the rounds that there may be at most:
K. K. G. Lan, D. L. DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70, 1983, 659-663, with
their function after P. C. O'Brien and T. R. Fleming: early looks spend next to nothing, the last one nearly all. The
bounds come from the recursion of P. Armitage, C. K. McPherson, B. C. Rowe (J. Royal Statistical Society A 132, 1969),
which is for a known variance, and are used as levels of Student's t (S. J. Pocock, Biometrika 64, 1977). Intervals of
those levels are repeated ones: those of all looks hold together (C. Jennison, B. W. Turnbull, J. Royal Statistical
Society B 51, 1989), so that whichever look ends the rounds, what is printed is the interval that ended them.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ... import defaults
from ...core.measure.rounds.report import FIRST_LOOK
from .intervals import Array, normal_quantile

_POINTS = 601
_TAILS = 8.0  # standard deviations beyond which nothing is integrated
_BISECTIONS = 60


def confidence_of_look(rounds: int, most: int, confidence: float = defaults.CONFIDENCE) -> float:
    """Return the confidence of the interval at a look, so that those of all looks hold together with ``confidence``.

    Args:
        rounds: so far, at least two.
        most: that there may be; fixed before the first.
        confidence: of all looks together.
    """
    if most <= FIRST_LOOK:
        return confidence
    return 1 - _levels(most, 1 - confidence)[min(rounds, most) - FIRST_LOOK]


def spent(share: float, alpha: float) -> float:
    """Return how much of ``alpha``, half of it on each side, may be spent by the time of a share of the rounds."""
    return 4 * _upper_tail(normal_quantile(1 - alpha / 4) / math.sqrt(share))


@lru_cache(maxsize=64)
def _levels(most: int, alpha: float) -> tuple[float, ...]:
    """Return the two-sided level of each look, for one look after each round from the second on."""
    times = np.arange(FIRST_LOOK, most + 1) / most
    levels: list[float] = []
    spent_before = 0.0
    grid, density = np.zeros(1), np.ones(1)  # of the sum so far, over experiments that go on
    before = 0.0
    for time in times:
        wanted = spent(float(time), alpha) - spent_before
        deviation = math.sqrt(time - before)
        bound = _bound(grid, density, deviation, wanted)
        levels.append(2 * _upper_tail(bound / math.sqrt(time)))
        spent_before += wanted
        following = np.linspace(-bound, bound, _POINTS)
        kernel = np.exp(-0.5 * ((following[:, None] - grid[None, :]) / deviation) ** 2) / deviation
        mass = kernel @ density / math.sqrt(2 * math.pi)
        weights = np.full(_POINTS, following[1] - following[0])
        weights[[0, -1]] /= 2
        grid, density, before = following, mass * weights, float(time)
    return tuple(levels)


def _bound(grid: Array, density: Array, deviation: float, wanted: float) -> float:
    """Return the bound beyond which so much of the density lies after a step of a deviation, on both sides together."""
    from scipy import special

    low, high = 0.0, float(np.abs(grid).max()) + _TAILS * deviation
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        beyond = special.ndtr((grid - middle) / deviation) + special.ndtr((-grid - middle) / deviation)
        low, high = (middle, high) if float(beyond @ density) > wanted else (low, middle)
    return (low + high) / 2


def _upper_tail(z: float) -> float:
    from scipy import special

    return float(special.ndtr(-z))
