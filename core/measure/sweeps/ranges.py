"""Ranges of numbers in plans: ``{ from = 4, to = 256, factor = 2 }``, by a step, or so many of them apart evenly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from pydantic import JsonValue

from ...errors import UsageError

_KEYS = frozenset({"from", "to", "step", "factor", "count", "scale"})
_MOST = 100_000
_LARGEST = 2**53  # up to which floats hold every integer
_SLACK = 1e-9  # of the last value, which a sum of steps may miss by rounding


def is_range(value: object) -> TypeGuard[dict[str, JsonValue]]:
    """Say whether a value of a plan is a range."""
    return isinstance(value, dict) and {"from", "to"} <= value.keys()


def values_of_range(name: str, told: Mapping[str, Any]) -> list[JsonValue]:
    """Return the numbers of a range, both ends included where they are in it; integers of integers.

    Args:
        name: of the axis, for messages.
        told: ``from`` and ``to``, and ``step`` (by default 1), ``factor``, or ``count`` with ``scale`` ``log`` (by
            default) or ``linear``.

    Raises:
        UsageError: it is no range, or one of more than 100,000 numbers.
    """
    shown = "{ " + ", ".join(f"{key} = {value}" for key, value in told.items()) + " }"
    unknown = sorted(told.keys() - _KEYS)
    if unknown:
        raise UsageError(
            f"{name} = {shown}: unknown key {unknown[0]!r}; known: {', '.join(sorted(_KEYS))}", code="bad-value"
        )
    ways = [key for key in ("step", "factor", "count") if key in told]
    if len(ways) > 1:
        raise UsageError(f"{name} = {shown}: give one of step, factor and count", code="bad-value")
    numbers = {key: value for key, value in told.items() if key != "scale"}
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers.values()):
        raise UsageError(f"{name} = {shown}: from, to, step, factor and count are numbers", code="bad-value")
    if not all(-_LARGEST <= value <= _LARGEST for value in numbers.values()):  # which holds for no NaN either
        raise UsageError(f"{name} = {shown}: numbers must be finite, and at most 2^53", code="bad-value")
    if "scale" in told and ways != ["count"]:
        raise UsageError(f"{name} = {shown}: scale goes with count", code="bad-value")
    if not told["from"] <= told["to"]:
        raise UsageError(f"{name} = {shown}: from must not be above to", code="bad-value")
    found = _evenly(name, shown, told) if ways == ["count"] else _stepped(name, shown, told)
    whole = all(isinstance(told[key], int) for key in ("from", "to")) and isinstance(told.get("step", 1), int)
    return list(dict.fromkeys(round(value) for value in found)) if whole else list(found)


def _stepped(name: str, shown: str, told: Mapping[str, Any]) -> list[float]:
    factor, step = told.get("factor"), told.get("step", 1)
    if factor is not None and not (factor > 1 and told["from"] > 0):
        raise UsageError(f"{name} = {shown}: a factor above 1 needs a from above 0", code="bad-value")
    if factor is None and step <= 0:
        raise UsageError(f"{name} = {shown}: step must be above 0", code="bad-value")
    found: list[float] = []
    for value in _ascending(told["from"], factor, step):
        if value > told["to"] * (1 + _SLACK) + (_SLACK if factor is None else 0):
            return found
        found.append(value)
        if len(found) > _MOST:
            raise UsageError(f"{name} = {shown}: more than {_MOST} values", code="bad-value")
    return found


def _ascending(value: float, factor: float | None, step: float) -> Iterator[float]:
    start, at = value, 0
    while True:
        yield value
        at += 1
        value = start + at * step if factor is None else value * factor


def _evenly(name: str, shown: str, told: Mapping[str, Any]) -> list[float]:
    count, scale, low, high = told["count"], told.get("scale", "log"), told["from"], told["to"]
    if not isinstance(count, int) or not 2 <= count <= _MOST:
        raise UsageError(f"{name} = {shown}: count must be an integer from 2 to {_MOST}", code="bad-value")
    if scale not in ("log", "linear"):
        raise UsageError(f"{name} = {shown}: scale is 'log' or 'linear'", code="bad-value")
    if scale == "log" and low <= 0:
        raise UsageError(f"{name} = {shown}: a log scale needs a from above 0", code="bad-value")
    shares = [at / (count - 1) for at in range(count)]
    return [low * (high / low) ** share if scale == "log" else low + (high - low) * share for share in shares]
