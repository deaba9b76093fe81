"""Parameters of which a few are tried in every change and the rest at night."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


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
