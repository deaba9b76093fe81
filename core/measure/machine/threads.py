"""How many threads engines get that were not told a number: decided once for an experiment, the same in every round."""

from __future__ import annotations

from .condition import Condition


def threads_beside(condition: Condition) -> int:
    """Return the cores less those that others keep busy, at least one.

    An engine with a thread for every core waits in each step for the thread whose core another process is using. Room
    is left for load that is there now and was over the last minute, so the smaller of the two counts: what only flares
    up would cost cores for the whole experiment, and the load average alone has our own past work in it.
    """
    load = min(condition.other_cpus or 0.0, condition.load_average)
    return max(1, condition.cores - int(load + 0.5))
