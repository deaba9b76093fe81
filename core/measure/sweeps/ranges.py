"""Ranges of numbers in plans: ``{ from = 4, to = 256, factor = 2 }``, by a step, or so many of them apart evenly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeGuard

from pydantic import JsonValue

from ...errors import UsageError

_WAYS = ("step", "factor", "count")
_KEYS = frozenset({"from", "to", *_WAYS, "scale"})
_MOST = 100_000
_LARGEST = 2**53  # up to which floats hold every integer
_SLACK = Decimal("1e-9")  # of the last value, which is `to` where it misses it by as little, in steps or relatively


def is_range(value: object) -> TypeGuard[dict[str, JsonValue]]:
    """Say whether a value of a plan is a range."""
    return isinstance(value, dict) and {"from", "to"} <= value.keys()


def ends_of_range(name: str, told: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return both ends of a range that names no values in between: a condition means all numbers there; else None.

    Raises:
        UsageError: as ``values_of_range``.
    """
    way = _checked(name, told)
    return (told["from"], told["to"]) if way is None else None


def values_of_range(name: str, told: Mapping[str, Any]) -> list[JsonValue]:
    """Return the numbers of a range, both ends included where they are in it; integers of integers.

    They have 12 significant digits, 0.3 and not 0.30000000000000004, so that cells are those of the list that a person
    writes. The ends are as they are given.

    Args:
        name: of the axis, for messages.
        told: ``from`` and ``to``, and ``step`` (by default 1), ``factor``, or ``count`` with ``scale`` ``log`` (by
            default) or ``linear``.

    Raises:
        UsageError: it is no range, or one of more than 100,000 numbers.
    """
    found = _evenly(name, told) if _checked(name, told) == "count" else list(_stepped(name, told))
    whole = all(isinstance(told[key], int) for key in ("from", "to")) and isinstance(told.get("step", 1), int)
    if whole:
        return list(dict.fromkeys(round(value) for value in found))
    numbers = [float(f"{value:.12g}") for value in found]
    if len(set(numbers)) < len(set(found)):  # they lie closer together than that
        numbers = [float(value) for value in found]
    is_at_end = found[-1] == Decimal(repr(told["to"]))
    return list(dict.fromkeys([float(told["from"]), *numbers[1:-1], float(told["to"]) if is_at_end else numbers[-1]]))


def _checked(name: str, told: Mapping[str, Any]) -> str | None:
    """Return which of step, factor and count a range has; raises ``UsageError`` where it cannot be one."""
    shown = _shown(name, told)
    unknown = sorted(told.keys() - _KEYS)
    if unknown:
        raise UsageError(f"{shown}: unknown key {unknown[0]!r}; known: {', '.join(sorted(_KEYS))}", code="bad-value")
    ways = [key for key in _WAYS if key in told]
    if len(ways) > 1:
        raise UsageError(f"{shown}: give one of step, factor and count", code="bad-value")
    numbers = {key: value for key, value in told.items() if key != "scale"}
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers.values()):
        raise UsageError(f"{shown}: from, to, step, factor and count are numbers", code="bad-value")
    if not all(-_LARGEST <= value <= _LARGEST for value in numbers.values()):  # which holds for no NaN either
        raise UsageError(f"{shown}: numbers must be finite, and at most 2^53", code="bad-value")
    if "scale" in told and ways != ["count"]:
        raise UsageError(f"{shown}: scale goes with count", code="bad-value")
    if not told["from"] <= told["to"]:
        raise UsageError(f"{shown}: from must not be above to", code="bad-value")
    return ways[0] if ways else None


def _shown(name: str, told: Mapping[str, Any]) -> str:
    return f"{name} = {{ {', '.join(f'{key} = {value}' for key, value in told.items())} }}"


def _stepped(name: str, told: Mapping[str, Any]) -> Iterator[Decimal]:
    """Yield the values, in decimal numbers, in which 0.1 is a tenth."""
    low, high = Decimal(repr(told["from"])), Decimal(repr(told["to"]))
    factor, step = told.get("factor"), Decimal(repr(told.get("step", 1)))
    if factor is not None and not (factor > 1 and low > 0):
        raise UsageError(f"{_shown(name, told)}: a factor above 1 needs a from above 0", code="bad-value")
    if step <= 0:
        raise UsageError(f"{_shown(name, told)}: step must be above 0", code="bad-value")
    slack = _SLACK * (step if factor is None else high)
    value, count = low, 0
    while value <= high + slack:
        if count == _MOST:
            raise UsageError(f"{_shown(name, told)}: more than {_MOST} values", code="bad-value")
        yield high if abs(value - high) <= slack else value
        count += 1
        value = low + count * step if factor is None else value * Decimal(repr(factor))


def _evenly(name: str, told: Mapping[str, Any]) -> list[Decimal]:
    count, scale = told["count"], told.get("scale", "log")
    if not isinstance(count, int) or not 2 <= count <= _MOST:
        raise UsageError(f"{_shown(name, told)}: count must be an integer from 2 to {_MOST}", code="bad-value")
    if scale not in ("log", "linear"):
        raise UsageError(f"{_shown(name, told)}: scale is 'log' or 'linear'", code="bad-value")
    if scale == "log" and told["from"] <= 0:
        raise UsageError(f"{_shown(name, told)}: a log scale needs a from above 0", code="bad-value")
    low, high = told["from"], told["to"]
    shares = [at / (count - 1) for at in range(count)]
    # low ** (1 - share) * high ** share: the quotient of the ends may be too large for a float
    found = [low ** (1 - at) * high**at if scale == "log" else low + (high - low) * at for at in shares]
    return [Decimal(value) for value in found[:-1]] + [Decimal(repr(high))]
