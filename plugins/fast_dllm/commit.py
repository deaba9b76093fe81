"""Which positions a step commits: pure rules over the confidences of the positions that are still masked.

Sources: Fast-dLLM (arXiv 2505.22618, section 3.3) and its published code for quota, threshold and factor; Fast-dLLM
v2 (arXiv 2509.26328) for the strict threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Rule = Callable[[Sequence[float]], list[int]]
"""From confidences (at least one) to the indices that are committed, in rising order."""


def quota_table(masks: int, steps: int) -> list[int]:
    """Share ``masks`` positions out over ``steps``: equal counts, the first ones larger by one if need be."""
    base, more = divmod(masks, steps)
    return [base + (step < more) for step in range(steps)]


def time_shares(steps: int, eps: float = 1e-3) -> list[float]:
    """Return the share of the remaining masks that each of Dream's steps commits: 1 - s / t, all of them at the end.

    Times fall from 1 to ``eps`` in equal parts. In float32, as published: a count is cut to an integer, and rounding
    decides some of them.
    """
    import torch

    times = torch.linspace(1, eps, steps + 1)
    return [*(1 - times[1:-1] / times[:-2]).tolist(), 1.0]


def time_table(masks: int, steps: int, first: int = 0) -> list[int]:
    """Share ``masks`` positions out as Dream does, over the steps ``first`` .. ``steps`` - 1, the last one at least."""
    import numpy as np

    counts = []
    for share in time_shares(steps)[min(first, steps - 1) :]:
        counts.append(int(np.float32(masks) * np.float32(share)))
        masks -= counts[-1]
    return counts


def best(count: int) -> Rule:
    """Commit the ``count`` most confident positions."""
    return lambda confidences: sorted(_ranked(confidences)[:count])


def by_chance(share: float) -> Rule:
    """Commit each position whose confidence, a random number from [0, 1), is below the share (Dream's ``origin``)."""
    return lambda confidences: [at for at, chance in enumerate(confidences) if chance < share]


def at_least(threshold: float) -> Rule:
    """Commit the best position and all whose confidence reaches the threshold (LLaDA and Dream)."""
    return lambda confidences: _with_best(confidences, [c >= threshold for c in confidences])


def above(threshold: float) -> Rule:
    """Commit the best position and all whose confidence is above the threshold (v2)."""
    return lambda confidences: _with_best(confidences, [c > threshold for c in confidences])


def by_factor(factor: float) -> Rule:
    """Commit the n - 1 best, where n is the first rank whose confidence falls below 1 - factor / (n + 1).

    At least one is committed; all are where no rank fails, and also where only the last does, as in the published
    code.
    """

    def choose(confidences: Sequence[float]) -> list[int]:
        ranked = _ranked(confidences)
        failing = (n for n in range(2, len(ranked)) if confidences[ranked[n - 1]] < 1 - factor / (n + 1))
        return sorted(ranked[: next(failing, len(ranked) + 1) - 1])

    return choose


def _ranked(confidences: Sequence[float]) -> list[int]:
    """Return all indices, the most confident first; the earlier one on a tie."""
    return sorted(range(len(confidences)), key=lambda at: -confidences[at])


def _with_best(confidences: Sequence[float], chosen: Sequence[bool]) -> list[int]:
    top = max(range(len(confidences)), key=confidences.__getitem__)
    return [at for at in range(len(confidences)) if chosen[at] or at == top]
