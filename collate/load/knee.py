"""The knee of a throughput curve: where more requests in flight stop paying."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

RISE = 0.10
"""Share by which throughput has to rise when the load doubles."""


def knee_of(loads: Sequence[float], throughput: Sequence[float]) -> float | None:
    """Return the last load at which throughput still rises by ``RISE`` per doubling; None: it does at the highest.

    It is the lowest load where throughput rises nowhere. Between two loads a and b the rise per doubling is
    (T_b / T_a) ** (1 / log2(b / a)) - 1.

    Args:
        loads: rising.
        throughput: at each of them, above 0.
    """
    knee = loads[0]
    for (before, low), (after, high) in pairwise(zip(loads, throughput, strict=True)):
        if (high / low) ** (1 / math.log2(after / before)) - 1 >= RISE:
            knee = after
    return None if knee == loads[-1] else knee
