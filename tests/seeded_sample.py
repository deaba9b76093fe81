"""Long tables of cases: a sample, drawn by a seed, runs every time, the rest at night."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable
from typing import Any

import pytest

SEED = 7


def seeded_sample(names: Iterable[str], size: int, slow: Collection[str] = ()) -> list[Any]:
    """Return the names as parameters; those that the sample leaves out, and those that are slow, are nightly."""
    names = list(names)
    kept = set(random.Random(SEED).sample(names, min(size, len(names)))) - set(slow)
    return [pytest.param(name, marks=[pytest.mark.nightly] * (name not in kept)) for name in names]
