"""Conditions of a plan: whether a value of an axis is one that a condition names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pydantic import JsonValue

from .ranges import ends_of_range, is_range, values_of_range

Test = Callable[[object], bool]
"""Says whether a value is meant."""


def test_of(name: str, wanted: Sequence[JsonValue], *, has_ranges: bool = True) -> Test:
    """Return what tells the values that a condition names.

    A range with a step, a factor or a count names the numbers of that range; one without names all numbers between its
    ends, both included, whichever an axis has.

    Args:
        name: of the axis, for messages.
        wanted: values and ranges.
        has_ranges: whether a table with ``from`` and ``to`` is a range; a value of a table's axis is none.

    Raises:
        UsageError: an impossible range.
    """
    tests = [_in_range(name, one) if has_ranges and is_range(one) else partial(is_same, one) for one in wanted]
    return lambda value: any(test(value) for test in tests)


def _in_range(name: str, wanted: Mapping[str, JsonValue]) -> Test:
    ends = ends_of_range(name, wanted)
    if ends is None:
        return test_of(name, values_of_range(name, wanted))
    low, high = ends
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def is_same(one: object, other: object) -> bool:
    """Say whether two values of a plan are one: ``true`` is no number, whatever Python says."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and one == other
