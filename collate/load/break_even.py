"""The loads at which one curve overtakes another, with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ... import defaults
from ..statistics.intervals import Array, t_interval

_GRID = 64  # places between two loads at which the ratio is looked at
_SAME = 1e-12  # log ratios below come of rounding

Rounds = Mapping[object, float]
"""A figure by round; rounds of two curves with equal keys ran beside each other."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where the ratio of two curves crosses 1.

    Attributes:
        at: the load.
        low: lower end of its interval; None where the lowest load lies within, or there is none.
        high: upper end likewise.
        rises: whether the curve is the slower one below and the faster one above.
        n: rounds behind it.
    """

    at: float
    low: float | None
    high: float | None
    rises: bool
    n: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How two curves stand to each other at the loads that both have.

    Attributes:
        crossings: by rising load; curves that touch or are the same do not cross.
        is_above: whether the mean ratio is above 1 at every load, or below it; None: neither.
        faster: loads at which the interval of the ratio lies above 1.
        slower: those at which it lies below.
        unclear: those at which it contains 1, or there is none.
        skipped: those at which a round had no throughput; such rounds are left out.
        n: rounds behind it.
    """

    crossings: tuple[Crossing, ...]
    is_above: bool | None
    faster: tuple[float, ...]
    slower: tuple[float, ...]
    unclear: tuple[float, ...]
    skipped: tuple[float, ...]
    n: int


def standing(
    curve: Mapping[float, Rounds], base: Mapping[float, Rounds], confidence: float = defaults.CONFIDENCE
) -> Standing | None:
    """Return where a curve crosses a base curve; None where both have fewer than two loads or no round in common.

    Between two loads the log ratio of each round is a straight line over the logarithm of the load. The interval holds
    the loads around a crossing at which a t interval of the rounds' log ratios contains 0: a test turned round, as
    for the ratio of two means (E. C. Fieller, "Some problems in interval estimation", 1954).

    Args:
        curve: the figure by load and round; values that are not above 0 have no ratio and are left out.
        base: of the other one.
        confidence: of the intervals.
    """
    both = sorted(set(curve) & set(base))
    skipped = tuple(load for load in both if min([*curve[load].values(), *base[load].values()], default=1) <= 0)
    curve, base = _above_0(curve), _above_0(base)
    loads = sorted(set(curve) & set(base))
    keys = [key for key in _common(curve, loads) if all(key in base[load] for load in loads)]
    if len(loads) < 2 or not keys:
        return None
    logs = np.log([[curve[load][key] / base[load][key] for key in keys] for load in loads])  # [loads, rounds]
    logs[np.abs(logs) < _SAME] = 0
    places, ratios = _between(np.log2(loads), logs)
    signs = [_sign(each, confidence) for each in logs]
    faster, slower, unclear = (
        tuple(load for load, one in zip(loads, signs, strict=True) if one == sign) for sign in (1, -1, 0)
    )
    means = logs.mean(axis=1)
    is_above = bool(means[0] > 0) if len(set(np.sign(means))) == 1 and means[0] != 0 else None
    crossings = tuple(_crossings(places, ratios, confidence))
    return Standing(crossings, is_above, faster, slower, unclear, skipped, len(keys))


def _above_0(curve: Mapping[float, Rounds]) -> dict[float, Rounds]:
    kept = {load: {key: value for key, value in rounds.items() if value > 0} for load, rounds in curve.items()}
    return {load: rounds for load, rounds in kept.items() if rounds}


def _sign(logs: Array, confidence: float) -> int:
    """Return 1 or -1 where the interval of log ratios lies on one side of 0; else 0."""
    found = t_interval(logs, confidence)
    return int((found.low or 0.0) > 0) - int((found.high or 0.0) < 0)


def _crossings(places: Array, ratios: Array, confidence: float) -> Iterator[Crossing]:
    """Yield the places at which the mean changes its sign; a stretch of zeros is crossed in its middle."""
    means, n = ratios.mean(axis=1), ratios.shape[1]
    signed = np.flatnonzero(means)
    for before, after in pairwise(map(int, signed)):
        if means[before] * means[after] < 0:
            zeros = places[before + 1 : after]
            share = means[before] / (means[before] - means[after])
            at = zeros.mean() if len(zeros) else places[before] + share * (places[after] - places[before])
            low, high = _around(places, ratios, (before, after), confidence) if n > 1 else (None, None)
            yield Crossing(float(2**at), low, high, bool(means[after] > 0), n)


def _common(curve: Mapping[float, Rounds], loads: Sequence[float]) -> list[object]:
    return [key for key in curve[loads[0]] if all(key in curve[load] for load in loads)] if loads else []


def _between(places: Array, logs: Array) -> tuple[Array, Array]:
    """Return a fine grid over the loads' logarithms, [n], and the log ratios on it, [n, rounds]."""
    shares = np.linspace(0, 1, _GRID, endpoint=False)
    grid = [first + shares * (second - first) for first, second in pairwise(places)]
    lines = [one + shares[:, None] * (other - one) for one, other in pairwise(logs)]
    return np.concatenate([*grid, places[-1:]]), np.concatenate([*lines, logs[-1:]])


def _around(
    places: Array, ratios: Array, turn: tuple[int, int], confidence: float
) -> tuple[float | None, float | None]:
    """Return both ends of the loads around the crossing where the ratio may be 1."""
    bounds = [t_interval(each, confidence) for each in ratios]
    may_be = [(one.low or 0.0) <= 0 <= (one.high or 0.0) for one in bounds]
    first, last = turn
    while first >= 0 and may_be[first]:
        first -= 1
    while last < len(places) and may_be[last]:
        last += 1
    low = None if first < 0 else float(2 ** places[first])
    return low, None if last == len(places) else float(2 ** places[last])
