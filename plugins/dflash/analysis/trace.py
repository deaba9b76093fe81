"""Integers out of a cycle's trace, which may be of any log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ....collate.speculation.observed import Cycle


def count(cycle: Cycle, name: str) -> int | None:
    """Return an integer of the trace."""
    return _integer(cycle.trace.get(name))


def count_at(cycle: Cycle, name: str, index: int | None) -> int | None:
    """Return an integer of a list of the trace."""
    values = cycle.trace.get(name)
    return _integer(values[index]) if isinstance(values, list) and index is not None and index < len(values) else None


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def tally(values: Iterable[int | None]) -> dict[int, int]:
    """Count the values that are known, in ascending order."""
    return dict(sorted(Counter(value for value in values if value is not None).items()))


def listed(counts: Mapping[int, int]) -> str:
    """Write a tally as ``value:count``."""
    return " ".join(f"{value}:{count}" for value, count in counts.items()) or "n/a"
