"""The load at which one curve overtakes another, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ... import defaults
from ..statistics.intervals import Array, t_interval

_GRID = 64  # places between two loads at which the ratio is looked at

Rounds = Mapping[object, float]
"""A figure by round; rounds of two curves with equal keys ran beside each other."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where the ratio of two curves crosses 1.

    Attributes:
        at: the load; None where the ratio does not cross 1 between the loads that both have.
        low: lower end of its interval; None where the lowest load lies within, or there is none.
        high: upper end likewise.
        rises: whether the curve is the slower one below and the faster one above; without a crossing whether it is the
            faster one at every load.
        n: rounds behind it.
    """

    at: float | None
    low: float | None
    high: float | None
    rises: bool
    n: int


def crossing(
    curve: Mapping[float, Rounds], base: Mapping[float, Rounds], confidence: float = defaults.CONFIDENCE
) -> Crossing | None:
    """Return where a curve crosses a base curve first; None where both have fewer than two loads or no round in common.

    Between two loads the log ratio of each round is a straight line over the logarithm of the load. The interval holds
    the loads around the crossing at which a t interval of the rounds' log ratios contains 0: a test turned round, as
    for the ratio of two means (E. C. Fieller, "Some problems in interval estimation", 1954).

    Args:
        curve: the figure by load and round.
        base: of the other one.
        confidence: of the interval.
    """
    loads = sorted(set(curve) & set(base))
    keys = [key for key in _common(curve, loads) if all(key in base[load] for load in loads)]
    if len(loads) < 2 or not keys:
        return None
    logs = np.log([[curve[load][key] / base[load][key] for key in keys] for load in loads])  # [loads, rounds]
    places, ratios = _between(np.log2(loads), logs)
    means = ratios.mean(axis=1)
    sign = np.sign(means)
    turns = np.flatnonzero(sign[1:] * sign[:-1] <= 0)
    if not len(turns):
        return Crossing(None, None, None, bool(means[0] > 0), len(keys))
    turn = int(turns[0])
    at = float(2 ** np.interp(0.0, *_rising(means[turn : turn + 2], places[turn : turn + 2])))
    low, high = _around(places, ratios, turn, confidence) if len(keys) > 1 else (None, None)
    return Crossing(at, low, high, bool(means[turn + 1] > means[turn]), len(keys))


def _common(curve: Mapping[float, Rounds], loads: Sequence[float]) -> list[object]:
    return [key for key in curve[loads[0]] if all(key in curve[load] for load in loads)] if loads else []


def _between(places: Array, logs: Array) -> tuple[Array, Array]:
    """Return a fine grid over the loads' logarithms, [n], and the log ratios on it, [n, rounds]."""
    shares = np.linspace(0, 1, _GRID, endpoint=False)
    grid = [first + shares * (second - first) for first, second in pairwise(places)]
    lines = [one + shares[:, None] * (other - one) for one, other in pairwise(logs)]
    return np.concatenate([*grid, places[-1:]]), np.concatenate([*lines, logs[-1:]])


def _rising(values: Array, places: Array) -> tuple[Array, Array]:
    order = np.argsort(values)
    return values[order], places[order]


def _around(places: Array, ratios: Array, turn: int, confidence: float) -> tuple[float | None, float | None]:
    """Return both ends of the loads around the crossing where the ratio may be 1."""
    bounds = [t_interval(each, confidence) for each in ratios]
    may_be = [(one.low or 0.0) <= 0 <= (one.high or 0.0) for one in bounds]
    first = turn
    while first >= 0 and may_be[first]:
        first -= 1
    last = turn + 1
    while last < len(places) and may_be[last]:
        last += 1
    low = None if first < 0 else float(2 ** places[first])
    return low, None if last == len(places) else float(2 ** places[last])
