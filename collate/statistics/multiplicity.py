"""Several tests of one question: which of them still reject when their number is counted."""

from __future__ import annotations

from collections.abc import Sequence

from ... import defaults


def holm(p_values: Sequence[float], confidence: float = defaults.CONFIDENCE) -> list[bool]:
    """Say for each of several tests whether it rejects (S. Holm, Scandinavian J. of Statistics 6, 1979, 65-70).

    The chance that any true hypothesis among them is rejected is at most ``1 - confidence``, however they depend on
    each other.

    Args:
        p_values: of all tests that were made, those that seem to show nothing included.
        confidence: of all of them together.
    """
    rejects = [False] * len(p_values)
    for rank, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[at] * (len(p_values) - rank) > 1 - confidence:
            break
        rejects[at] = True
    return rejects
