"""Where a series of times changes from one level to another."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FEWEST = 12
"""Values, below which two levels cannot be distinguished from noise."""

_SEGMENT = 3  # values on either side of a change
_CHANGE = 1.1
_EXPLAINED = 0.75  # of the variance of the logarithm, by two levels


def change_point(seconds: NDArray[np.float64]) -> int | None:
    """Return the index at which the second of two levels begins; None where there is one level.

    Two levels by least squares on the logarithm, each of three values or more. They count where they explain three
    quarters of the variance, lie 10 % apart, and an F test (Bonferroni over the places) rejects one level at 0.001.

    Args:
        seconds: [n] times, in order.
    """
    from scipy import stats

    n = len(seconds)
    if n < FEWEST or seconds.min() <= 0:
        return None
    logs = np.log(seconds)
    total = float(((logs - logs.mean()) ** 2).sum())
    places = range(_SEGMENT, n - _SEGMENT + 1)
    within = [float(logs[:at].var() * at + logs[at:].var() * (n - at)) for at in places]
    best = int(np.argmin(within))
    at, left = places[best], within[best]
    if total == 0 or 1 - left / total < _EXPLAINED:
        return None
    apart = abs(float(np.median(logs[at:]) - np.median(logs[:at])))
    p_value = float(stats.f.sf((total - left) / max(left / (n - 2), 1e-30), 1, n - 2)) * len(places)
    return at if apart > math.log(_CHANGE) and p_value < 1e-3 else None
