"""What is tried in every change in part, and as a whole at night."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

_BY_DAY = 4  # one in so many random examples
_is_night = True


def choose_night(*, is_night: bool) -> None:
    """Say whether this run is the nightly one, before any test is imported."""
    global _is_night
    _is_night = is_night


def examples(at_night: int) -> int:
    """Return how many random examples to draw of those that are drawn at night."""
    return at_night if _is_night else max(2, at_night // _BY_DAY)


def at_night(values: Iterable[Any], *, but: Iterable[Any]) -> list[Any]:
    """Mark the values for the nightly run but those few; values that are tuples are several arguments."""
    kept = list(but)
    values = list(values)
    assert kept and all(value in values for value in kept), "what is kept is among the values"
    return [
        value
        if value in kept
        else pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.nightly)
        for value in values
    ]


def a_few(count: int, values: Iterable[Any]) -> list[Any]:
    """Mark the values for the nightly run but ``count`` of them, spread evenly."""
    values = list(values)
    return at_night(values, but=[values[at * len(values) // count] for at in range(min(count, len(values)))])
