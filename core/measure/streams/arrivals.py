"""When the requests of a load are due: as others end (closed loop), or at times that nobody answers for (open loop)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate


def poisson_ns(rate_per_s: float, requests: int, seed: int) -> list[int]:
    """Return when requests are due that come independently of each other, in nanoseconds from the load's start.

    The gaps are exponentially distributed with mean 1 / ``rate_per_s``: a Poisson process, so that bursts and lulls
    come as with many users. The same seed gives the same times, whatever answers.
    """
    chooser = random.Random(f"arrivals:{seed}")
    return list(accumulate(round(1e9 * chooser.expovariate(rate_per_s)) for _ in range(requests)))


def scaled_ns(times_s: Sequence[float], rate_per_s: float | None) -> list[int]:
    """Return the recorded times of a trace from its first request on, in nanoseconds.

    Args:
        times_s: in seconds on any clock, not decreasing.
        rate_per_s: stretches or shortens all gaps alike so that the mean rate is this; None: as recorded.
    """
    first, last = times_s[0], times_s[-1]
    factor = 1.0 if rate_per_s is None or last == first else (len(times_s) - 1) / (last - first) / rate_per_s
    return [round(1e9 * factor * (at - first)) for at in times_s]
